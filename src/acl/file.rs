//! ACL files: a `user` line each, no comments, because ACL SAVE would lose them. All of a file is taken or none of it.

use super::catalog::Catalog;
use super::error::RuleError;
use super::user::User;
use super::users::{Users, has_blanks};

/// Puts selectors together that are spread over several arguments, `(+get ~a*)` being two. The argument that opens a
/// parenthesis which is never closed is the error.
pub fn merge_selectors<T: AsRef<[u8]>>(rules: &[T]) -> Result<Vec<Vec<u8>>, Vec<u8>> {
    let mut merged: Vec<Vec<u8>> = Vec::with_capacity(rules.len());
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for rule in rules {
        let rule = rule.as_ref();
        match &mut open {
            None if rule.starts_with(b"(") && !rule.ends_with(b")") => {
                open = Some((rule, rule.to_vec()));
            }
            None => merged.push(rule.to_vec()),
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(rule);
                if rule.ends_with(b")") {
                    merged.extend(open.take().map(|(_, selector)| selector));
                }
            }
        }
    }
    match open {
        Some((opening, _)) => Err(opening.to_vec()),
        None => Ok(merged),
    }
}

impl Users {
    /// The users of an ACL file, in place of all that are known now. `path` is how the errors call the file.
    ///
    /// # Errors
    /// Everything that is wrong, in one line.
    pub fn loaded(
        &self,
        text: &[u8],
        path: &str,
        all_channels: bool,
        catalog: &Catalog,
    ) -> Result<Users, String> {
        let mut errors = String::new();
        let mut loaded: Vec<User> = Vec::new();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let number = index + 1;
            let line = trim(line, b" \t\r\n");
            if line.is_empty() {
                continue;
            }
            let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            let [b"user", name, rules @ ..] = &words[..] else {
                errors += &format!(
                    "{path}:{number} should start with user keyword followed by the username. "
                );
                continue;
            };
            let shown = String::from_utf8_lossy(name);
            if has_blanks(name) {
                errors +=
                    &format!("'{path}:{number}: username '{shown}' contains invalid characters. ");
                continue;
            }
            if loaded.iter().any(|user| user.name() == *name) {
                errors += &format!("WARNING: Duplicate user '{shown}' found on line {number}. ");
                continue;
            }
            let Ok(rules) = merge_selectors(rules) else {
                errors +=
                    &format!("{path}:{number}: Unmatched parenthesis in selector definition.");
                continue;
            };
            let id = self.future_id(name, loaded.len());
            let mut user = User::new(name, id, all_channels);
            let mut was_refused = false;
            for rule in rules {
                let rule = trim(&rule, b"\t\r\n");
                match user.apply(rule, all_channels, catalog) {
                    Ok(()) => {}
                    // An unknown word is no secret; anything else may be a password gone astray, and later errors may
                    // only follow from it.
                    Err(error @ RuleError::Unknown) => {
                        let rule = String::from_utf8_lossy(rule);
                        errors += &format!(
                            "{path}:{number}: Error in applying operation '{rule}': {error}. "
                        );
                    }
                    Err(error) if !was_refused => {
                        errors += &format!("{path}:{number}: {error}. ");
                        was_refused = true;
                    }
                    Err(_) => {}
                }
            }
            loaded.push(user);
        }
        if errors.is_empty() {
            return Ok(self.replaced(loaded, catalog));
        }
        errors += "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
        Err(errors)
    }
}

fn trim<'a>(mut text: &'a [u8], blanks: &[u8]) -> &'a [u8] {
    while let [first, rest @ ..] = text
        && blanks.contains(first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && blanks.contains(last)
    {
        text = rest;
    }
    text
}
