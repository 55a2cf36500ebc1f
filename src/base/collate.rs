//! Texts in the order of a language: what SORT with ALPHA compares by (`locale-collate`).
//!
//! The C library knows the orders. Each text becomes a key whose bytes compare as the texts do (`strxfrm`), which makes
//! the cost of the locale linear in the number of texts. In the locale `C`, the usual one of servers, the key is the text
//! itself. The locale is this thread's only while a key is made, so threads need not agree.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

/// An order of texts.
pub struct Collation {
    /// None compares bytes.
    locale: Option<libc::locale_t>,
}

// SAFETY: the signature is the one that POSIX 2008 gives.
unsafe extern "C" {
    /// POSIX 2008; the `libc` crate does not have it.
    fn strxfrm_l(
        to: *mut libc::c_char,
        from: *const libc::c_char,
        room: libc::size_t,
        locale: libc::locale_t,
    ) -> libc::size_t;
}

/// The name by which the C library calls a locale's order.
fn open(name: &str) -> Option<libc::locale_t> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is a C string, and a null base asks for a new locale.
    let locale =
        unsafe { libc::newlocale(libc::LC_COLLATE_MASK, name.as_ptr(), std::ptr::null_mut()) };
    (!locale.is_null()).then_some(locale)
}

/// Whether the C library knows a locale; the empty name means the one of the environment.
pub fn is_known(name: &str) -> bool {
    Collation::of(name).is_some()
}

impl Collation {
    /// The order of the bytes.
    pub fn bytes() -> Self {
        Collation { locale: None }
    }

    /// The order of a locale, the environment's for the empty name; bytes where the C library has no such locale.
    pub fn named(name: &str) -> Self {
        Self::of(name).unwrap_or(Self::bytes())
    }

    fn of(name: &str) -> Option<Self> {
        let environment = || {
            ["LC_ALL", "LC_COLLATE", "LANG"]
                .iter()
                .filter_map(|variable| std::env::var(variable).ok())
                .find(|value| !value.is_empty())
        };
        let resolved = match name {
            "" => environment().unwrap_or_default(),
            name => name.to_owned(),
        };
        if matches!(resolved.as_str(), "" | "C" | "POSIX" | "C.UTF-8" | "C.utf8") {
            return Some(Self::bytes());
        }
        Some(Collation {
            locale: Some(open(&resolved)?),
        })
    }

    /// Bytes that compare with other keys as the texts do. A text ends at its first NUL byte.
    pub fn key(&self, text: &[u8]) -> Vec<u8> {
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        let text = &text[..end];
        let Some(locale) = self.locale else {
            return text.to_vec();
        };
        let from = CString::new(text).expect("it was cut at its first NUL");
        let mut key = vec![0_u8; 4 * text.len() + 16];
        // SAFETY: the library writes at most as many bytes as there is room, and the locale is open.
        let length =
            unsafe { strxfrm_l(key.as_mut_ptr().cast(), from.as_ptr(), key.len(), locale) };
        if length >= key.len() {
            key = vec![0; length + 1];
            // SAFETY: as above; the room is what the first call asked for.
            unsafe { strxfrm_l(key.as_mut_ptr().cast(), from.as_ptr(), key.len(), locale) };
        }
        let key = CStr::from_bytes_until_nul(&key).map(CStr::to_bytes);
        key.unwrap_or_default().to_vec()
    }
}

impl Drop for Collation {
    fn drop(&mut self) {
        if let Some(locale) = self.locale {
            // SAFETY: it was opened for this value alone, and nothing can use it any more.
            unsafe { libc::freelocale(locale) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_locale_bytes_up_to_a_nul_decide() {
        for collation in [
            Collation::named("C"),
            Collation::bytes(),
            Collation::named("no_SUCH"),
        ] {
            assert!(collation.key(b"Z") < collation.key(b"a"));
            assert_eq!(collation.key(b"a\0b"), collation.key(b"a\0c"));
        }
        assert!(is_known("C") && is_known("POSIX") && !is_known("no_SUCH"));
    }

    #[test]
    fn the_librarys_keys_keep_their_order_whatever_their_length() {
        // `C` through the library itself: every machine has it.
        let collation = Collation { locale: open("C") };
        assert!(collation.locale.is_some());
        let long = vec![b'x'; 1000];
        assert_eq!(collation.key(&long), long);
        assert!(collation.key(b"abc") < collation.key(b"abd"));
    }
}
