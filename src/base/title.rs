//! What `ps` shows of the process.
//!
//! The kernel reads it out of the memory in which the process was given its arguments. The environment lies behind them and
//! goes elsewhere first, so that there is room for a longer title.
#![allow(unsafe_code)]

use std::ptr;

/// The memory of the title.
pub struct Title {
    at: usize,
    room: usize,
}

impl Title {
    /// Takes the arguments' memory over: they cannot be read any more. None where the kernel does not say where it is, or
    /// when there are several threads already.
    pub fn take() -> Option<Title> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let [threads, from, to, environment, end] = places(&stat)?;
        if threads != 1 || from == 0 || to <= from {
            return None;
        }
        let mut room = to - from;
        if environment == to && end > to {
            for (name, value) in std::env::vars_os() {
                // SAFETY: there is one thread.
                unsafe { std::env::set_var(name, value) };
            }
            room = end - from;
        }
        Some(Title { at: from, room })
    }

    /// Shows this, as much of it as there is room for.
    pub fn show(&mut self, text: &[u8]) {
        let text = &text[..text.len().min(self.room - 1)];
        let at: *mut u8 = ptr::with_exposed_provenance_mut(self.at);
        // SAFETY: the kernel has set this memory up for the arguments and the environment, it is writable, and nothing of
        // this process reads it any more: arguments were read before `take`, and the environment is elsewhere.
        unsafe {
            ptr::write_bytes(at, 0, self.room);
            ptr::copy_nonoverlapping(text.as_ptr(), at, text.len());
        }
    }
}

/// Threads, and where arguments and environment begin and end (proc(5): `num_threads`, `arg_start` to `env_end`).
fn places(stat: &str) -> Option<[usize; 5]> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some([field(20)?, field(48)?, field(49)?, field(50)?, field(51)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_whatever_the_program_is_called() {
        let fields: Vec<String> = (3..=52).map(|number| number.to_string()).collect();
        let stat = format!("7 (a) b) {}", fields.join(" "));
        assert_eq!(places(&stat), Some([20, 48, 49, 50, 51]));
        assert_eq!(places("7 (a) S 1"), None);
        assert_eq!(places(""), None);
    }

    #[test]
    fn nobody_takes_it_among_several_threads() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || stopped.recv());
        assert!(Title::take().is_none());
        drop(stop);
        let _ = other.join();
    }
}
