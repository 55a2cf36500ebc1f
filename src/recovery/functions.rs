//! Function libraries as files bring them: sources in a base, changes in a log; applied when the keys are there.

use std::sync::Arc;

use crate::command::change_functions;
use crate::resp::request::{Caller, OwnedArgs};
use crate::script::{CoreScripts, Libraries, Scripts};

/// A change to the function libraries.
#[derive(Clone, Debug)]
pub enum FunctionChange {
    /// The source of a library out of a snapshot.
    Source(Vec<u8>),
    /// FUNCTION LOAD, DELETE, FLUSH or RESTORE.
    Command(OwnedArgs),
}

/// The same in the place of the libraries there are.
pub fn replace(changes: &[FunctionChange], scripts: &Arc<Scripts>) -> Result<(), String> {
    scripts.change_libraries(|all| {
        *all = Libraries::default();
        Ok::<(), String>(())
    })?;
    apply(changes, scripts)
}

/// Makes the changes in order. A library of a snapshot that does not load ends the start, as in Redis: an application
/// would find half of what it relies on. A command of a log that fails has failed when it was written, or belongs to
/// libraries that are gone by now; it is logged.
pub fn apply(changes: &[FunctionChange], scripts: &Arc<Scripts>) -> Result<(), String> {
    if changes.is_empty() {
        return Ok(());
    }
    let scripting = CoreScripts::new(scripts.clone());
    for change in changes {
        match change {
            FunctionChange::Source(source) => {
                let failed = |text: &str| {
                    format!("Failed loading a function library of the snapshot: {text}")
                };
                let library = scripting
                    .read_library(source)
                    .map_err(|error| failed(&String::from_utf8_lossy(error.as_bytes())))?;
                scripts
                    .change_libraries(|all| all.add(Arc::new(library), false))
                    .map_err(|text| failed(&text))?;
            }
            FunctionChange::Command(command) => {
                let args = command.args(Caller::default());
                if let Err(error) = change_functions(&scripting, &args) {
                    log::warn!(
                        "== CRITICAL == The append-only file has a command that fails: '{}' after processing the \
                         command 'function|{}'",
                        String::from_utf8_lossy(error.as_bytes()),
                        String::from_utf8_lossy(args.opt(1).unwrap_or_default())
                    );
                }
            }
        }
    }
    Ok(())
}
