//! A user: how clients prove to be it, and what it may do.

use sha2::{Digest, Sha256};

use crate::resp::request::Args;

use super::catalog::Catalog;
use super::error::RuleError;
use super::selector::{Need, Selector};

/// Hexadecimal digits of a password's SHA-256.
const HASH_DIGITS: usize = 64;

type Hash = [u8; HASH_DIGITS];

/// A user as of one moment: changes make another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: Box<[u8]>,
    /// Tells this user from another one that had its name before.
    id: u64,
    enabled: bool,
    needs_no_password: bool,
    sanitizes_payload: bool,
    passwords: Vec<Hash>,
    /// The user's own, then those in parentheses.
    selectors: Vec<Selector>,
}

/// What a client asks permission for: a command with its arguments, and what the command's declaration says of them.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Place of the command in the catalogue.
    pub command: u16,
    /// Everybody may run it: AUTH, HELLO.
    pub is_open: bool,
    /// Position of the argument that `+command|word` looks at.
    pub word: usize,
    /// All arguments.
    pub args: &'a Args<'a>,
    /// Positions of keys, and what is done with each.
    pub keys: &'a [(u32, Need)],
    /// Positions of channels that are published or subscribed to.
    pub channels: &'a [(u32, ChannelNeed)],
}

/// How a channel is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelNeed {
    /// By its name.
    Literal,
    /// By a pattern.
    Pattern,
}

/// Why a request is not let in, the weightier reasons last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The command.
    Command,
    /// A key.
    Key,
    /// A password, or a user that there is not.
    Auth,
    /// A channel.
    Channel,
}

/// A request that is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// Which argument is to blame; zero for the command itself.
    pub at: usize,
}

impl User {
    /// A user that may do nothing; `all_channels` as `acl-pubsub-default` says.
    pub fn new(name: &[u8], id: u64, all_channels: bool) -> Self {
        User {
            name: name.into(),
            id,
            enabled: false,
            needs_no_password: false,
            sanitizes_payload: true,
            passwords: Vec::new(),
            selectors: vec![Selector::new(all_channels)],
        }
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether this is the same user, only changed: a user deleted and made anew under its name is another one.
    pub fn is_same(&self, other: &User) -> bool {
        self.id == other.id && self.name == other.name
    }

    /// Whether clients may become this user.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether any password will do.
    pub fn needs_no_password(&self) -> bool {
        self.needs_no_password
    }

    /// Whether clients may be this user without having said anything: the default user, on and without a password.
    pub fn is_open(&self) -> bool {
        self.enabled && self.needs_no_password
    }

    /// Whether RESTORE may trust what this user sends.
    pub fn skips_sanitizing(&self) -> bool {
        !self.sanitizes_payload
    }

    /// Whether nothing is kept from it, so that there is nothing to check.
    pub fn is_unrestricted(&self) -> bool {
        self.selectors
            .iter()
            .any(|one| one.all_commands && one.all_keys && one.all_channels)
    }

    /// The selectors: its own first.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// Hashes of its passwords, in hexadecimal digits.
    pub fn passwords(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.passwords.iter().map(|hash| &hash[..])
    }

    /// The words that are not about permissions.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let words = [
            (self.enabled, "on"),
            (!self.enabled, "off"),
            (self.needs_no_password, "nopass"),
            (!self.sanitizes_payload, "skip-sanitize-payload"),
            (self.sanitizes_payload, "sanitize-payload"),
        ];
        words
            .into_iter()
            .filter(|(on, _)| *on)
            .map(|(_, word)| word)
    }

    /// Applies one rule of ACL SETUSER. A selector comes as one rule, see [`super::merge_selectors`].
    pub fn apply(
        &mut self,
        rule: &[u8],
        all_channels: bool,
        catalog: &Catalog,
    ) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        match rule {
            [] => {}
            _ if is("on") => self.enabled = true,
            _ if is("off") => self.enabled = false,
            _ if is("skip-sanitize-payload") => self.sanitizes_payload = false,
            _ if is("sanitize-payload") => self.sanitizes_payload = true,
            _ if is("nopass") => {
                self.needs_no_password = true;
                self.passwords.clear();
            }
            _ if is("resetpass") => {
                self.needs_no_password = false;
                self.passwords.clear();
            }
            [b'>', password @ ..] => self.add_password(hash(password)),
            [b'#', digits @ ..] => self.add_password(checked_hash(digits)?),
            [b'<', password @ ..] => self.remove_password(&hash(password))?,
            [b'!', digits @ ..] => self.remove_password(&checked_hash(digits)?)?,
            [b'(', rules @ .., b')'] => {
                let selector = Selector::parse(rules, all_channels, catalog)?;
                self.selectors.push(selector);
            }
            _ if is("clearselectors") => self.selectors.truncate(1),
            _ if is("reset") => *self = User::new(&self.name, self.id, all_channels),
            _ => self.own().apply(rule, catalog)?,
        }
        Ok(())
    }

    fn own(&mut self) -> &mut Selector {
        self.selectors
            .first_mut()
            .expect("a user has a selector of its own")
    }

    fn add_password(&mut self, hash: Hash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.needs_no_password = false;
    }

    fn remove_password(&mut self, hash: &Hash) -> Result<(), RuleError> {
        let known = self.passwords.iter().position(|known| known == hash);
        let place = known.ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(place);
        Ok(())
    }

    /// Whether a client that gives this password becomes this user.
    pub fn accepts(&self, password: &[u8]) -> bool {
        if !self.enabled || self.needs_no_password {
            return self.enabled;
        }
        let given = hash(password);
        self.passwords
            .iter()
            .fold(false, |any, known| is_same_hash(known, &given) | any)
    }

    /// Whether it may run this. When no selector lets all of it in, the denial is that of the selector that came
    /// furthest: it is about a key or channel rather than the command, and about a later argument rather than an
    /// earlier one.
    pub fn check(&self, asked: &Asked<'_>) -> Result<(), Denial> {
        let mut worst = Denial {
            reason: Reason::Command,
            at: 0,
        };
        for selector in &self.selectors {
            match check_selector(selector, asked) {
                Ok(()) => return Ok(()),
                Err(denial) => worst = worst.max(denial),
            }
        }
        Err(worst)
    }

    /// Whether it may run this and use every key for `need` besides: SORT with BY or GET, whose patterns name keys that
    /// are not known before it runs.
    pub fn check_with_all_keys(&self, asked: &Asked<'_>, need: Need) -> bool {
        self.selectors.iter().any(|selector| {
            selector.allows_all_keys(need) && check_selector(selector, asked).is_ok()
        })
    }

    /// Whether it may use a key for this, by any of its selectors.
    pub fn may_use_key(&self, key: &[u8], need: Need) -> bool {
        self.selectors.iter().any(|one| one.allows_key(key, need))
    }

    /// Whether it may use a channel, or a pattern of channels, by any of its selectors.
    pub fn may_use_channel(&self, channel: &[u8], need: ChannelNeed) -> bool {
        self.selectors
            .iter()
            .any(|one| one.allows_channel(channel, need == ChannelNeed::Pattern))
    }

    /// As ACL LIST shows it, without `user` and its name.
    pub fn describe(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for word in self.flags() {
            text.extend_from_slice(word.as_bytes());
            text.push(b' ');
        }
        for hash in &self.passwords {
            text.push(b'#');
            text.extend_from_slice(hash);
            text.push(b' ');
        }
        for (index, selector) in self.selectors.iter().enumerate() {
            if index == 0 {
                selector.describe(&mut text);
            } else {
                text.extend_from_slice(b" (");
                selector.describe(&mut text);
                text.push(b')');
            }
        }
        text
    }

    /// The line of ACL LIST, of an ACL file and of a configuration file.
    pub fn line(&self) -> Vec<u8> {
        [b"user ", self.name(), b" ", &self.describe()].concat()
    }
}

fn check_selector(selector: &Selector, asked: &Asked<'_>) -> Result<(), Denial> {
    let word = asked.args.opt(asked.word);
    if !asked.is_open && !selector.allows_command(asked.command, word) {
        return Err(Denial {
            reason: Reason::Command,
            at: 0,
        });
    }
    for &(place, need) in asked.keys {
        let at = place as usize;
        if !selector.allows_key(asked.args.get(at), need) {
            return Err(Denial {
                reason: Reason::Key,
                at,
            });
        }
    }
    for &(place, need) in asked.channels {
        let at = place as usize;
        if !selector.allows_channel(asked.args.get(at), need == ChannelNeed::Pattern) {
            return Err(Denial {
                reason: Reason::Channel,
                at,
            });
        }
    }
    Ok(())
}

/// The hexadecimal SHA-256 of a password.
fn hash(password: &[u8]) -> Hash {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; HASH_DIGITS];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(Sha256::digest(password)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    digits
}

fn checked_hash(digits: &[u8]) -> Result<Hash, RuleError> {
    let hash: Hash = digits.try_into().map_err(|_| RuleError::BadHash)?;
    match hash
        .iter()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    {
        true => Ok(hash),
        false => Err(RuleError::BadHash),
    }
}

/// Compares to the end whatever comes, so that time says nothing about where the first difference is.
fn is_same_hash(a: &Hash, b: &Hash) -> bool {
    let difference = a
        .iter()
        .zip(b)
        .fold(0, |difference, (a, b)| difference | (a ^ b));
    std::hint::black_box(difference) == 0
}
