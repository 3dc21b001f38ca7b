//! Basic authentication. A bcrypt hash takes a core for a good part of a second, on purpose: so one is checked at a time, off
//! the threads that answer, and each user's last good password is remembered as long as the process lives.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::{
    hmac::{self, HMAC_SHA256, Key, Tag},
    rand::SystemRandom,
};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{Access, Policy, Shares};
use crate::config::HiddenText;

/// Whether a request may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Granted,
    /// No user, or not with this password.
    Refused,
    /// Too many passwords are waiting to be checked, of this client or of all.
    Busy,
}

/// What has been checked, and whose turn it is.
#[derive(Debug)]
pub(super) struct Passwords {
    /// Makes a tag of user, hash and password: what is remembered is worth nothing outside of this process.
    key: Option<Key>,
    good: Mutex<BTreeMap<String, Tag>>,
    turn: Arc<Semaphore>,
    waiting: Arc<Shares>,
}

/// What a client says it is.
struct Login {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl Access {
    /// Whether a client at `peer` that sends this `Authorization` may be answered.
    pub async fn admit(&self, policy: &Policy, authorization: Option<&[u8]>, peer: IpAddr) -> Admission {
        let users = &policy.settings.users;
        if users.is_empty() {
            return Admission::Granted;
        }
        match authorization.and_then(Login::read) {
            Some(login) => self.passwords.check(users, login, peer).await,
            None => Admission::Refused,
        }
    }
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self {
            // Where the system has no random numbers nothing is remembered.
            key: Key::generate(HMAC_SHA256, &SystemRandom::new()).ok(),
            good: Mutex::new(BTreeMap::new()),
            turn: Arc::new(Semaphore::new(1)),
            waiting: Shares::new(MAX_WAITING, MAX_WAITING_OF_ONE),
        }
    }

    async fn check(&self, users: &BTreeMap<String, HiddenText>, login: Login, peer: IpAddr) -> Admission {
        let known = str::from_utf8(&login.user).ok().and_then(|user| users.get_key_value(user));
        // A user who does not exist is checked against the hash of one who does, always the same: it takes the same time.
        let Some(hash) = known.map(|(_, hash)| hash).or_else(|| self.stand_in(users, &login)) else {
            return Admission::Refused;
        };
        let message = login.message(hash);
        if known.is_some_and(|(user, _)| self.remembers(user, &message)) {
            return Admission::Granted;
        }
        let Some(_share) = self.waiting.take(peer) else { return Admission::Busy };
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return Admission::Refused };
        // Another request of the same client may have had its turn before.
        if known.is_some_and(|(user, _)| self.remembers(user, &message)) {
            return Admission::Granted;
        }
        let (hash, password) = (hash.clone(), login.password);
        let checked = spawn_blocking(move || {
            // A client that hangs up does not end the check, so the turn is the check's.
            let _turn = turn;
            bcrypt::verify(password, hash.reveal()).unwrap_or(false)
        });
        let is_right = checked.await.unwrap_or(false);
        match known {
            Some((user, _)) if is_right => {
                self.remember(users, user, &message);
                Admission::Granted
            }
            Some(_) | None => Admission::Refused,
        }
    }

    fn stand_in<'a>(&self, users: &'a BTreeMap<String, HiddenText>, login: &Login) -> Option<&'a HiddenText> {
        let tag = self.key.as_ref().map(|key| hmac::sign(key, &login.user));
        let number = tag.and_then(|tag| tag.as_ref().first().copied()).map_or(0, usize::from);
        users.values().nth(number % users.len().max(1))
    }

    fn remembers(&self, user: &str, message: &[u8]) -> bool {
        let tag = self.good.lock().unwrap_or_else(PoisonError::into_inner).get(user).copied();
        let Some((key, tag)) = self.key.as_ref().zip(tag) else { return false };
        hmac::verify(key, message, tag.as_ref()).is_ok()
    }

    fn remember(&self, users: &BTreeMap<String, HiddenText>, user: &str, message: &[u8]) {
        let Some(key) = &self.key else { return };
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        good.retain(|user, _| users.contains_key(user));
        good.insert(user.to_owned(), hmac::sign(key, message));
    }
}

impl Login {
    /// RFC 7617, 2.
    fn read(authorization: &[u8]) -> Option<Self> {
        let (scheme, credentials) = authorization.split_at_checked(SCHEME.len())?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        let decoded = BASE64_STANDARD.decode(credentials.trim_ascii()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let (user, password) = decoded.split_at(colon);
        Some(Self { user: user.to_vec(), password: password.get(1..)?.to_vec() })
    }

    /// All that decides about it: no two logins have the same, as neither hash nor user has a colon.
    fn message(&self, hash: &HiddenText) -> Vec<u8> {
        [hash.reveal().as_bytes(), b":", &self.user, b":", &self.password].concat()
    }
}

const SCHEME: &[u8] = b"Basic ";
/// Passwords that wait to be checked. The last of them waits seconds, and its request has a connection meanwhile.
const MAX_WAITING: usize = 32;
const MAX_WAITING_OF_ONE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_rfc_7617_has_them() {
        let read = |text: &str| Login::read(text.as_bytes()).map(|login| (login.user, login.password));
        let pair = |user: &str, password: &str| Some((user.as_bytes().to_vec(), password.as_bytes().to_vec()));
        assert_eq!(read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
        assert_eq!(read("bAsIc YTpiOmM="), pair("a", "b:c"));
        assert_eq!(read("Basic Og=="), pair("", ""));
        for none in ["", "Basic", "Basic ", "Basic !", "Basic QQ==", "Bearer Og==", "BasicOg=="] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
