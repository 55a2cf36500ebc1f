//! What the system says about this process and this machine: CPU time, memory, its own name.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::time::Duration;

/// CPU time used.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    /// In the kernel.
    pub system: Duration,
    /// Outside of it.
    pub user: Duration,
}

/// Whose CPU time.
#[derive(Clone, Copy, Debug)]
pub enum Whose {
    /// All threads of this process.
    Process,
    /// Its children that have ended.
    Children,
}

/// CPU time used so far.
pub fn cpu_time(whose: Whose) -> CpuTime {
    let who = match whose {
        Whose::Process => libc::RUSAGE_SELF,
        Whose::Children => libc::RUSAGE_CHILDREN,
    };
    // SAFETY: all-zero bytes are a valid `rusage`, which is made of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `rusage`. It cannot fail with these constants; zeros are an answer if it does.
    unsafe { libc::getrusage(who, &mut usage) };
    let duration = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    CpuTime {
        system: duration(usage.ru_stime),
        user: duration(usage.ru_utime),
    }
}

/// CPU time of the thread that `main` runs on, as /proc tells it (in hundredths of a second).
pub fn main_thread_cpu_time() -> CpuTime {
    let id = std::process::id();
    let stat = std::fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap_or_default();
    // The name of the thread may hold blanks and brackets; fields are counted from behind its end.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    let ticks = |place: usize| -> u64 {
        fields
            .get(place)
            .and_then(|field| field.parse().ok())
            .unwrap_or(0)
    };
    let duration = |ticks: u64| Duration::from_millis(ticks * 10);
    CpuTime {
        system: duration(ticks(12)),
        user: duration(ticks(11)),
    }
}

/// Bytes of this process that are in memory; zero when /proc does not tell.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|field| field.parse::<u64>().ok());
    // SAFETY: it reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.unwrap_or(0) * u64::try_from(page).unwrap_or(4096)
}

/// Bytes of memory of the machine.
pub fn machine_bytes() -> u64 {
    // SAFETY: both read constants of the system.
    let (pages, page) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    u64::try_from(pages).unwrap_or(0) * u64::try_from(page).unwrap_or(0)
}

/// Name, release and machine of the system: `Linux 6.1.0 x86_64`.
pub fn system_name() -> String {
    // SAFETY: all-zero bytes are a valid `utsname`, which is made of characters.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `utsname`. On failure it stays as it is: empty strings.
    unsafe { libc::uname(&mut name) };
    let text = |field: &[libc::c_char]| {
        // SAFETY: the kernel ends each field with a zero byte, and the zeroed one begins with it.
        unsafe { CStr::from_ptr(field.as_ptr()) }
            .to_string_lossy()
            .into_owned()
    };
    format!(
        "{} {} {}",
        text(&name.sysname),
        text(&name.release),
        text(&name.machine)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_answers() {
        assert!(resident_bytes() > 100_000 && machine_bytes() > resident_bytes());
        assert!(system_name().starts_with("Linux "), "{}", system_name());
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        let used = cpu_time(Whose::Process);
        assert!(used.user + used.system > Duration::ZERO);
        let _ = (cpu_time(Whose::Children), main_thread_cpu_time());
    }
}
