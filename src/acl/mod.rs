//! Users and what they may do: pure decisions over values.
//!
//! A [`Users`] set never changes. The control core builds another one for every change and hands it to all cores, so
//! whoever holds one sees every user as of one moment. What commands exist comes in as a [`Catalog`], because the
//! commands themselves stand further down the house. Start with `user.rs`.

mod catalog;
mod category;
mod error;
mod file;
mod log;
mod selector;
#[cfg(test)]
mod tests;
mod user;
mod users;

pub use catalog::{Catalog, Entry};
pub use category::Category;
pub use error::{RuleError, SetUserError, UserLineError};
pub use file::merge_selectors;
pub use log::{Context, DenialLog, LogEntry};
pub use selector::{Need, Selector};
pub use user::{Asked, ChannelNeed, Denial, Reason, User};
pub use users::{Users, has_blanks};
