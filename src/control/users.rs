//! Changes of users: made here, one after the other, and in force on every core before the client reads OK.

use std::sync::Arc;

use crate::acl::Users;
use crate::base::sys;
use crate::command::table::catalog;
use crate::config::{ChannelDefault, Config};
use crate::mesh::message::{AclChange, CoreAnswer, CoreAsk};
use crate::resp::ErrorReply;

use super::core::Control;

/// Whether new users may use all channels.
pub fn all_channels(config: &Config) -> bool {
    config.acl_pubsub_default == ChannelDefault::All
}

/// The users that `aclfile` holds, in place of `users`.
///
/// # Errors
/// All that is wrong with the file, in one line.
pub fn load_users(users: &Users, config: &Config) -> Result<Users, String> {
    let Some(path) = &config.aclfile else {
        return Ok(users.clone());
    };
    let shown = path.display().to_string();
    let text = std::fs::read(path)
        .map_err(|error| format!("Error loading ACLs, opening file '{shown}': {error}"))?;
    users.loaded(&text, &shown, all_channels(config), catalog())
}

impl Control {
    /// Does what a client wants of the users; `from` is its core and ticket, `asker` its id.
    pub(super) fn change_users(&mut self, from: (u16, u64), change: AclChange, asker: u64) {
        let outcome = match change {
            AclChange::SetUser { name, rules } => self
                .users
                .with_rules(&name, &rules, all_channels(&self.config), catalog())
                .map(|users| (users, CoreAnswer::Done))
                .map_err(ErrorReply::from),
            AclChange::DelUser(names) => {
                let (users, removed) = self.users.without(&names);
                Ok((users, CoreAnswer::Count(removed)))
            }
            AclChange::Load => load_users(&self.users, &self.config)
                .map(|users| (users, CoreAnswer::Done))
                .map_err(|errors| ErrorReply::acl_file(&errors)),
            AclChange::Save => {
                let answer = self.save_users();
                self.answer(from.0, from.1, answer);
                return;
            }
        };
        match outcome {
            Ok((users, answer)) => {
                self.users = Arc::new(users);
                let users = self.users.clone();
                self.ask_all_then(CoreAsk::SetUsers { users, asker }, Some(from), answer);
                self.replicas_take_over_users();
            }
            Err(error) => {
                let text = error.as_bytes().to_vec();
                self.answer(from.0, from.1, CoreAnswer::Failed(text));
            }
        }
    }

    fn save_users(&self) -> CoreAnswer {
        let Some(path) = &self.config.aclfile else {
            return CoreAnswer::Failed(ErrorReply::NO_ACL_FILE.as_bytes().to_vec());
        };
        match sys::replace_file(path, &self.users.text()) {
            Ok(()) => CoreAnswer::Done,
            Err(error) => {
                log::warn!("Writing the ACL file '{}': {error}", path.display());
                CoreAnswer::Failed(ErrorReply::ACL_SAVE_FAILED.as_bytes().to_vec())
            }
        }
    }

    /// `requirepass` has changed: the cores learn of it before they learn of the new configuration.
    pub(super) fn take_required_password(&mut self) {
        let users = Users::clone(&self.users);
        let users = users.with_default_password(&self.config.requirepass, catalog());
        self.users = Arc::new(users);
        let ask = CoreAsk::SetUsers {
            users: self.users.clone(),
            asker: 0,
        };
        self.ask_all_then(ask, None, CoreAnswer::Done);
        self.replicas_take_over_users();
    }

    /// The `user` lines of the configuration file: none when users have a file of their own.
    pub(super) fn user_lines(&self) -> Vec<Vec<u8>> {
        match self.config.aclfile {
            Some(_) => Vec::new(),
            None => self.users.config_lines(&self.config.requirepass, catalog()),
        }
    }
}
