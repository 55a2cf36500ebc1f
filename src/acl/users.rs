//! All users as of one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::Catalog;
use super::error::{SetUserError, UserLineError};
use super::file::merge_selectors;
use super::user::User;

/// The user that every client is before it says otherwise.
const DEFAULT: &[u8] = b"default";

/// All users by name, in the order of ACL LIST.
#[derive(Clone, Debug)]
pub struct Users {
    by_name: BTreeMap<Box<[u8]>, Arc<User>>,
    /// The next user's id.
    next_id: u64,
}

/// Whether a name or pattern holds what may not be in it: blanks, or zero bytes.
pub fn has_blanks(text: &[u8]) -> bool {
    text.iter()
        .any(|byte| crate::base::words::is_blank(*byte) || *byte == 0)
}

impl Users {
    /// The default user alone, which may do everything; `password` empty means none.
    pub fn new(password: &[u8], catalog: &Catalog) -> Self {
        let users = Users {
            by_name: BTreeMap::new(),
            next_id: 1,
        };
        users
            .with(Self::open_default(catalog))
            .with_default_password(password, catalog)
    }

    fn open_default(catalog: &Catalog) -> User {
        let mut user = User::new(DEFAULT, 0, false);
        for rule in ["+@all", "~*", "&*", "on", "nopass"] {
            user.apply(rule.as_bytes(), false, catalog)
                .expect("these rules fit any user");
        }
        user
    }

    fn with(mut self, user: User) -> Self {
        self.by_name.insert(user.name().into(), Arc::new(user));
        self
    }

    /// A user by its name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// The user that every client is before it says otherwise.
    pub fn default_user(&self) -> &Arc<User> {
        self.by_name
            .get(DEFAULT)
            .expect("the default user cannot be removed")
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    /// `requirepass`: the default user's only password; an empty one lets everybody in.
    #[must_use]
    pub fn with_default_password(self, password: &[u8], catalog: &Catalog) -> Self {
        let mut user = User::clone(self.default_user());
        let rule = match password {
            b"" => b"nopass".to_vec(),
            password => [b">", password].concat(),
        };
        for rule in [&b"resetpass"[..], &rule] {
            user.apply(rule, false, catalog)
                .expect("these rules fit any user");
        }
        self.with(user)
    }

    /// ACL SETUSER: makes a user or changes one, all rules or none.
    pub fn with_rules<T: AsRef<[u8]>>(
        &self,
        name: &[u8],
        rules: &[T],
        all_channels: bool,
        catalog: &Catalog,
    ) -> Result<Self, SetUserError> {
        if has_blanks(name) {
            return Err(SetUserError::Name);
        }
        let rules = merge_selectors(rules).map_err(SetUserError::Unmatched)?;
        let mut users = self.clone();
        let mut user = match self.get(name) {
            Some(known) => User::clone(known),
            None => {
                users.next_id += 1;
                User::new(name, self.next_id, all_channels)
            }
        };
        for rule in rules {
            if let Err(error) = user.apply(&rule, all_channels, catalog) {
                return Err(SetUserError::Rule(rule, error));
            }
        }
        Ok(users.with(user))
    }

    /// ACL DELUSER: how many of `names` there were. The default user must not be among them.
    #[must_use]
    pub fn without<T: AsRef<[u8]>>(&self, names: &[T]) -> (Self, usize) {
        let mut users = self.clone();
        let removed = names
            .iter()
            .filter(|name| name.as_ref() != DEFAULT)
            .filter(|name| users.by_name.remove(name.as_ref()).is_some())
            .count();
        (users, removed)
    }

    /// The `user` lines of a configuration file, on top of this set. A user may have one line; a line about the default
    /// user replaces all that it may do.
    pub fn with_lines(
        &self,
        lines: &[Vec<Vec<u8>>],
        all_channels: bool,
        catalog: &Catalog,
    ) -> Result<Self, UserLineError> {
        let mut users = self.clone();
        for (index, line) in lines.iter().enumerate() {
            let Some((name, rules)) = line.split_first() else {
                continue;
            };
            if lines[..index]
                .iter()
                .any(|other| other.first() == Some(name))
            {
                return Err(UserLineError::Duplicate(name.clone()));
            }
            if name == DEFAULT {
                users = users
                    .with_rules(name, &["reset"], all_channels, catalog)
                    .map_err(UserLineError::Set)?;
            }
            users = users
                .with_rules(name, rules, all_channels, catalog)
                .map_err(UserLineError::Set)?;
        }
        Ok(users)
    }

    /// The users of an ACL file: `self` gives only the default user its identity and the others theirs after those
    /// known so far. A default user that the file does not name may do everything.
    pub(super) fn replaced(&self, loaded: Vec<User>, catalog: &Catalog) -> Self {
        let mut users = Users {
            by_name: BTreeMap::new(),
            next_id: self.next_id + loaded.len() as u64,
        };
        users = users.with(Self::open_default(catalog));
        for user in loaded {
            users = users.with(user);
        }
        users
    }

    /// The id of the `nth` user that is made from now on, zero for the default user.
    pub(super) fn future_id(&self, name: &[u8], nth: usize) -> u64 {
        match name {
            DEFAULT => 0,
            _ => self.next_id + nth as u64,
        }
    }

    /// What ACL SAVE writes: a line for each user.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for user in self.iter() {
            text.extend_from_slice(&user.line());
            text.push(b'\n');
        }
        text
    }

    /// The lines that CONFIG REWRITE writes. The default user has one only when it is not what `password`
    /// (`requirepass`) alone makes of it.
    pub fn config_lines(&self, password: &[u8], catalog: &Catalog) -> Vec<Vec<u8>> {
        let plain = Users::new(password, catalog);
        self.iter()
            .filter(|user| user != &plain.default_user())
            .map(|user| user.line())
            .collect()
    }
}
