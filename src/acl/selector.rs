//! A selector: commands, keys and channels that go together. A user has one of its own (the root) and any number in
//! parentheses; a request is let in when one selector lets all of it in.
//!
//! The commands allowed are one bit each. Beside the bits stands the list of rules that led to them, because that is
//! what ACL LIST shows and ACL SAVE writes: a rule replaces the earlier ones about the same command (and about its
//! subcommands) or category, so the list stays short and gives the same bits when it is read again.

use std::collections::BTreeMap;

use crate::base::{glob, words};

use super::catalog::Catalog;
use super::category::Category;
use super::error::RuleError;

/// What a command does with a key, as far as permissions ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Need {
    /// Something of the value can reach the client or another key.
    pub read: bool,
    /// The value is changed.
    pub write: bool,
}

impl Need {
    /// Reads.
    pub const READ: Need = Need {
        read: true,
        write: false,
    };

    fn is_met_by(self, granted: Need) -> bool {
        (granted.read || !self.read) && (granted.write || !self.write)
    }
}

/// Keys that may be used, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    pattern: Vec<u8>,
    granted: Need,
}

impl KeyPattern {
    fn show(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(match (self.granted.read, self.granted.write) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            _ => b"~",
        });
        text.extend_from_slice(&self.pattern);
    }
}

/// One rule about commands as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CommandRule {
    allow: bool,
    /// `get`, `config|set`, `@string`.
    about: String,
}

/// See the head of this file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Selector {
    pub(super) all_keys: bool,
    pub(super) all_channels: bool,
    /// Every command, those of later versions included, and none taken away.
    pub(super) all_commands: bool,
    /// It began with every command: those of later versions are allowed.
    starts_full: bool,
    keys: Vec<KeyPattern>,
    channels: Vec<Vec<u8>>,
    /// One bit a command, by its place in the catalogue.
    allowed: Vec<u64>,
    /// First arguments with which a command that is not allowed may run all the same, by the command's place.
    first_words: BTreeMap<u16, Vec<Vec<u8>>>,
    rules: Vec<CommandRule>,
}

impl Selector {
    /// One that allows nothing, channels perhaps excepted (`acl-pubsub-default`).
    pub(super) fn new(all_channels: bool) -> Self {
        Selector {
            all_channels,
            ..Selector::default()
        }
    }

    /// One made of the rules between a selector's parentheses. Quotes that do not match leave no rule at all.
    pub(super) fn parse(
        rules: &[u8],
        all_channels: bool,
        catalog: &Catalog,
    ) -> Result<Self, RuleError> {
        let mut selector = Selector::new(all_channels);
        for rule in words::split(rules).unwrap_or_default() {
            selector.apply(&rule, catalog)?;
        }
        Ok(selector)
    }

    /// Applies one rule.
    pub(super) fn apply(&mut self, rule: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if is("allkeys") || is("~*") {
            self.all_keys = true;
            self.keys.clear();
        } else if is("resetkeys") {
            self.all_keys = false;
            self.keys.clear();
        } else if is("allchannels") || is("&*") {
            self.all_channels = true;
            self.channels.clear();
        } else if is("resetchannels") {
            self.all_channels = false;
            self.channels.clear();
        } else if is("allcommands") || is("+@all") {
            self.set_all(true, catalog);
        } else if is("nocommands") || is("-@all") {
            self.set_all(false, catalog);
        } else {
            match rule {
                [b'~', pattern @ ..] => self.add_keys(
                    pattern,
                    Need {
                        read: true,
                        write: true,
                    },
                )?,
                [b'%', rest @ ..] => {
                    if self.all_keys {
                        return Err(RuleError::KeysAlreadyAll);
                    }
                    let (granted, pattern) = split_permission(rest)?;
                    self.add_keys(pattern, granted)?;
                }
                [b'&', pattern @ ..] => self.add_channels(pattern)?,
                [sign @ (b'+' | b'-'), b'@', name @ ..] => {
                    self.apply_category(*sign == b'+', name, catalog)?;
                }
                [b'+', name @ ..] => self.allow_command(name, catalog)?,
                [b'-', name @ ..] => {
                    let place = catalog.find(name).ok_or(RuleError::Unknown)?;
                    self.set_command(place, false, catalog);
                    self.note(&catalog.entry(place).name, false);
                }
                _ => return Err(RuleError::Syntax),
            }
        }
        Ok(())
    }

    fn set_all(&mut self, allow: bool, catalog: &Catalog) {
        self.allowed.clear();
        self.allowed
            .resize(catalog.len().div_ceil(64), if allow { u64::MAX } else { 0 });
        (self.all_commands, self.starts_full) = (allow, allow);
        self.rules.clear();
        self.first_words.clear();
    }

    fn add_keys(&mut self, pattern: &[u8], granted: Need) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeysAlreadyAll);
        }
        if super::has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => {
                known.granted.read |= granted.read;
                known.granted.write |= granted.write;
            }
            None => self.keys.push(KeyPattern {
                pattern: pattern.to_vec(),
                granted,
            }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::ChannelsAlreadyAll);
        }
        if super::has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| known == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    fn apply_category(
        &mut self,
        allow: bool,
        name: &[u8],
        catalog: &Catalog,
    ) -> Result<(), RuleError> {
        let category = Category::named(name).ok_or(RuleError::Unknown)?;
        self.note(&format!("@{}", String::from_utf8_lossy(name)), allow);
        for (place, entry) in catalog.top() {
            if entry.categories.has(category) {
                self.set_command(place, allow, catalog);
            }
            for &child in &entry.children {
                if catalog.entry(child).categories.has(category) {
                    self.set_command(child, allow, catalog);
                }
            }
        }
        Ok(())
    }

    /// `+command`, `+container|sub`, and `+command|word`, which lets a command run with that first argument.
    fn allow_command(&mut self, name: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        let Some(bar) = memchr::memrchr(b'|', name) else {
            let place = catalog.find(name).ok_or(RuleError::Unknown)?;
            self.set_command(place, true, catalog);
            self.note(&catalog.entry(place).name, true);
            return Ok(());
        };
        let (command, word) = (&name[..bar], &name[bar + 1..]);
        let place = catalog.find(command).ok_or(RuleError::Unknown)?;
        let entry = catalog.entry(place);
        if entry.parent.is_some() {
            return Err(RuleError::WordOfSubcommand);
        }
        if word.is_empty() {
            return Err(RuleError::Syntax);
        }
        if entry.children.is_empty() {
            let words = self.first_words.entry(place).or_default();
            if !words.iter().any(|known| known.eq_ignore_ascii_case(word)) {
                words.push(word.to_vec());
            }
        } else {
            let sub = catalog.find(name).ok_or(RuleError::Unknown)?;
            self.set_command(sub, true, catalog);
        }
        self.note(&String::from_utf8_lossy(name), true);
        Ok(())
    }

    /// Sets a command's bit and its subcommands'.
    fn set_command(&mut self, place: u16, allow: bool, catalog: &Catalog) {
        self.set_bit(place, allow, catalog.len());
        self.first_words.remove(&place);
        for &child in &catalog.entry(place).children {
            self.set_bit(child, allow, catalog.len());
        }
    }

    fn set_bit(&mut self, place: u16, allow: bool, commands: usize) {
        if self.allowed.is_empty() {
            self.allowed.resize(commands.div_ceil(64), 0);
        }
        let (word, bit) = (usize::from(place / 64), 1 << (place % 64));
        if allow {
            self.allowed[word] |= bit;
        } else {
            self.allowed[word] &= !bit;
            self.all_commands = false;
        }
    }

    /// Writes a rule down, in place of those it makes pointless.
    fn note(&mut self, about: &str, allow: bool) {
        let about = about.to_ascii_lowercase();
        self.rules.retain(|rule| {
            let same = rule
                .about
                .strip_prefix(&about)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('|'));
            !same
        });
        self.rules.push(CommandRule { allow, about });
    }

    /// Whether the command at `place` may run, `word` being its first argument (behind the subcommand, if any).
    pub(super) fn allows_command(&self, place: u16, word: Option<&[u8]>) -> bool {
        let bit = self
            .allowed
            .get(usize::from(place / 64))
            .is_some_and(|bits| bits >> (place % 64) & 1 == 1);
        self.all_commands
            || bit
            || word.is_some_and(|word| {
                self.first_words
                    .get(&place)
                    .is_some_and(|words| words.iter().any(|known| known.eq_ignore_ascii_case(word)))
            })
    }

    /// Whether a key may be used for this.
    pub(super) fn allows_key(&self, key: &[u8], need: Need) -> bool {
        self.all_keys
            || self.keys.iter().any(|known| {
                need.is_met_by(known.granted) && glob::matches(&known.pattern, key, false)
            })
    }

    /// Whether every key may be used for this.
    pub(super) fn allows_all_keys(&self, need: Need) -> bool {
        self.all_keys
            || self
                .keys
                .iter()
                .any(|known| known.pattern == b"*" && need.is_met_by(known.granted))
    }

    /// Whether a channel, or a pattern of channels as it stands, may be used.
    pub(super) fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|known| {
                if is_pattern {
                    known == channel
                } else {
                    glob::matches(known, channel, false)
                }
            })
    }

    /// The rules about commands as ACL GETUSER shows them.
    pub fn commands_text(&self) -> Vec<u8> {
        let mut text = if self.starts_full {
            b"+@all".to_vec()
        } else {
            b"-@all".to_vec()
        };
        for rule in &self.rules {
            text.extend_from_slice(if rule.allow { b" +" } else { b" -" });
            text.extend_from_slice(rule.about.as_bytes());
        }
        text
    }

    /// The key patterns as ACL GETUSER shows them.
    pub fn keys_text(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let mut text = Vec::new();
        for (index, known) in self.keys.iter().enumerate() {
            if index > 0 {
                text.push(b' ');
            }
            known.show(&mut text);
        }
        text
    }

    /// The channel patterns as ACL GETUSER shows them.
    pub fn channels_text(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let mut text = Vec::new();
        for (index, known) in self.channels.iter().enumerate() {
            if index > 0 {
                text.push(b' ');
            }
            text.push(b'&');
            text.extend_from_slice(known);
        }
        text
    }

    /// All of it in one line, as ACL LIST shows it.
    pub(super) fn describe(&self, text: &mut Vec<u8>) {
        let keys = self.keys_text();
        if !keys.is_empty() {
            text.extend_from_slice(&keys);
            text.push(b' ');
        }
        if !self.all_channels {
            text.extend_from_slice(b"resetchannels ");
        }
        let channels = self.channels_text();
        if !channels.is_empty() {
            text.extend_from_slice(&channels);
            text.push(b' ');
        }
        text.extend_from_slice(&self.commands_text());
    }
}

/// The permissions in front of `~`, and the pattern behind it. Each letter may come once, one must.
fn split_permission(rest: &[u8]) -> Result<(Need, &[u8]), RuleError> {
    let mut granted = Need::default();
    for (at, byte) in rest.iter().enumerate() {
        match byte.to_ascii_uppercase() {
            b'R' if !granted.read => granted.read = true,
            b'W' if !granted.write => granted.write = true,
            b'~' if granted != Need::default() => return Ok((granted, &rest[at + 1..])),
            _ => return Err(RuleError::Syntax),
        }
    }
    // Redis takes a missing `~` for a pattern without a letter, which no key matches.
    match granted == Need::default() {
        true => Err(RuleError::Syntax),
        false => Ok((granted, b"")),
    }
}
