//! Certificates: a key with what it says of itself and of its subkeys, and whether one of them may
//! sign now.
//!
//! Limit: revocations by another key (designated revokers) are not looked for.

use super::key::Key;
use super::packet::Packet;
use super::sign::Signature;

/// A key with all that belongs to it.
#[derive(Debug)]
pub(super) struct Certificate {
    primary: Key,
    /// What is said of the key itself.
    direct: Vec<Signature>,
    /// Each name of its owner, as signatures cover it.
    names: Vec<(Vec<u8>, Vec<Signature>)>,
    subkeys: Vec<(Key, Vec<Signature>)>,
}

/// Why a key may not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    Revoked,
    Expired,
    /// Nothing that it says of itself holds.
    Unproved,
    /// What it says of itself is signed with SHA-1 or weaker.
    Weak,
    NotForSigning,
}

/// The flag of a key that may sign documents.
const SIGNS: u8 = 2;

/// All certificates among these packets.
pub(super) fn certificates(packets: &[Packet<'_>]) -> Vec<Certificate> {
    let mut found: Vec<Certificate> = Vec::new();
    // Whether the key is one that is read here; else what belongs to it is skipped.
    let mut known = false;
    let mut last = Last::Primary;
    for Packet { tag, body } in packets {
        match tag {
            5 | 6 => {
                let primary = Key::read(body).filter(|_| *tag == 6);
                known = primary.is_some();
                last = Last::Primary;
                found.extend(primary.map(|primary| Certificate {
                    primary,
                    direct: Vec::new(),
                    names: Vec::new(),
                    subkeys: Vec::new(),
                }));
            }
            2 | 7 | 13 | 14 | 17 if known => {
                if let Some(certificate) = found.last_mut() {
                    last = certificate.take(*tag, body, last);
                }
            }
            _ => {}
        }
    }
    found
}

/// What the next signature speaks of.
#[derive(Clone, Copy)]
enum Last {
    Primary,
    Name,
    Subkey,
    /// Something that is not read here.
    Other,
}

impl Certificate {
    fn take(&mut self, tag: u8, body: &[u8], last: Last) -> Last {
        match tag {
            13 | 17 => {
                let mark = if tag == 13 { 0xb4 } else { 0xd1 };
                let Ok(length) = u32::try_from(body.len()) else { return Last::Other };
                let covered = [&[mark], length.to_be_bytes().as_slice(), body].concat();
                self.names.push((covered, Vec::new()));
                Last::Name
            }
            14 => {
                let Some(key) = Key::read(body) else { return Last::Other };
                self.subkeys.push((key, Vec::new()));
                Last::Subkey
            }
            2 => {
                let signatures = match last {
                    Last::Primary => Some(&mut self.direct),
                    Last::Name => self.names.last_mut().map(|(_, signatures)| signatures),
                    Last::Subkey => self.subkeys.last_mut().map(|(_, signatures)| signatures),
                    Last::Other => None,
                };
                if let Some(signatures) = signatures {
                    signatures.extend(Signature::read(body));
                }
                last
            }
            _ => Last::Other,
        }
    }

    /// The key of this certificate that is called so: a fingerprint, or its last bytes.
    pub(super) fn key(&self, issuer: &[u8]) -> Option<&Key> {
        let called = |key: &&Key| key.fingerprint == issuer || key.id() == issuer;
        std::iter::once(&self.primary).chain(self.subkeys.iter().map(|(key, _)| key)).find(called)
    }

    /// Whether this key of the certificate may sign documents now.
    pub(super) fn may_sign(&self, key: &Key, now: i64) -> Result<(), Unfit> {
        let own = self.own_word(now)?;
        if std::ptr::eq(key, &raw const self.primary) {
            return own
                .flags
                .is_none_or(|flags| flags & SIGNS != 0)
                .then_some(())
                .ok_or(Unfit::NotForSigning);
        }
        let of = self.subkeys.iter().find(|(it, _)| std::ptr::eq(it, key));
        let (_, signatures) = of.ok_or(Unfit::Unproved)?;
        let covered = [self.primary.covered(), key.covered()];
        self.not_revoked(signatures, 0x28, &covered)?;
        let word =
            self.newest(signatures.iter().filter(|it| it.kind == 0x18).map(|it| (it, &covered[..])), now)?;
        alive(key, word, now)?;
        if word.flags.is_none_or(|flags| flags & SIGNS == 0) {
            return Err(Unfit::NotForSigning);
        }
        // The subkey says, too, that it belongs to the key: else anybody could claim it.
        let agrees = |back: &&Signature| {
            back.kind == 0x19 && back.hash.is_strong() && back.counts_at(now) && key.signed(back, &covered)
        };
        word.embedded.iter().find(agrees).map(|_| ()).ok_or(Unfit::Unproved)
    }

    /// The newest thing that the key says of itself.
    fn own_word(&self, now: i64) -> Result<&Signature, Unfit> {
        let key = self.primary.covered();
        self.not_revoked(&self.direct, 0x20, &[key])?;
        let direct = self.direct.iter().filter(|it| it.kind == 0x1f).map(|it| (it, vec![key]));
        let names = self.names.iter().flat_map(|(name, signatures)| {
            let covered = vec![key, name.as_slice()];
            let gone = self.revocation(signatures, 0x30, &covered).map(|it| it.created);
            let said = signatures.iter().filter(|it| (0x10..=0x13).contains(&it.kind));
            let said = said.filter(move |it| gone.is_none_or(|gone| gone < it.created));
            said.map(move |it| (it, covered.clone()))
        });
        let said: Vec<_> = direct.chain(names).collect();
        let word = self.newest(said.iter().map(|(it, covered)| (*it, covered.as_slice())), now)?;
        alive(&self.primary, word, now)?;
        Ok(word)
    }

    /// The newest signature of the key among these that holds.
    fn newest<'a, 'b>(
        &self,
        signatures: impl Iterator<Item = (&'a Signature, &'b [&'b [u8]])>,
        now: i64,
    ) -> Result<&'a Signature, Unfit> {
        let mut weak = false;
        let mut newest: Option<&Signature> = None;
        for (signature, covered) in signatures.filter(|(it, _)| it.counts_at(now) && self.claims(it)) {
            if !signature.hash.is_strong() {
                weak = true;
            } else if newest.is_none_or(|newest| newest.created < signature.created)
                && self.primary.signed(signature, covered)
            {
                newest = Some(signature);
            }
        }
        newest.ok_or(if weak { Unfit::Weak } else { Unfit::Unproved })
    }

    fn not_revoked(&self, signatures: &[Signature], kind: u8, covered: &[&[u8]]) -> Result<(), Unfit> {
        match self.revocation(signatures, kind, covered) {
            None => Ok(()),
            Some(_) => Err(Unfit::Revoked),
        }
    }

    /// The newest revocation of the key's own. A weak hash does here: whoever forges one only takes
    /// a key away.
    fn revocation<'a>(
        &self,
        signatures: &'a [Signature],
        kind: u8,
        covered: &[&[u8]],
    ) -> Option<&'a Signature> {
        let own = signatures.iter().filter(|it| it.kind == kind && self.claims(it));
        own.filter(|it| self.primary.signed(it, covered)).max_by_key(|it| it.created)
    }

    /// Whether the signature does not name another key as its maker.
    fn claims(&self, signature: &Signature) -> bool {
        let called = |issuer: &Vec<u8>| **issuer == self.primary.fingerprint || **issuer == self.primary.id();
        signature.issuers.is_empty() || signature.issuers.iter().any(called)
    }
}

/// Whether the key counts at this time, by what is said of it.
fn alive(key: &Key, word: &Signature, now: i64) -> Result<(), Unfit> {
    let ends = i64::from(key.created) + i64::from(word.key_lifetime);
    if word.key_lifetime != 0 && ends <= now { Err(Unfit::Expired) } else { Ok(()) }
}
