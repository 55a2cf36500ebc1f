//! The process's title, which follows the configuration (`set-proc-title`).

use std::path::Path;

use crate::base::title::Title;
use crate::config::Config;

/// What the title is made of beside the configuration.
pub struct ProcessTitle {
    memory: Title,
    program: Vec<u8>,
    file: Option<Vec<u8>>,
}

impl ProcessTitle {
    /// Shows the title of a program that was called `program` and given this file; none where that is not wanted or cannot
    /// be. The arguments cannot be read any more.
    pub fn begin(config: &Config, program: Vec<u8>, file: Option<&Path>) -> Option<Self> {
        if !config.set_proc_title {
            return None;
        }
        let mut title = ProcessTitle {
            memory: Title::take()?,
            program,
            file: file.map(|path| path.as_os_str().as_encoded_bytes().to_vec()),
        };
        title.show(config);
        Some(title)
    }

    /// Shows what the configuration says now.
    pub fn show(&mut self, config: &Config) {
        let text = config.title(&self.program, self.file.as_deref());
        self.memory.show(&text);
    }
}
