//! Whether the key that a server shows is the one that it must show.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bluegreen_core::host::quote;
use bluegreen_core::{Error, ErrorKind, Result};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::known_hosts::Marker;
use russh::keys::ssh_key::{Fingerprint, HashAlg};
use russh::keys::{Algorithm, Certificate, EcdsaCurve, PublicKey, PublicKeyOrCertificate};

use crate::destination::DEFAULT_PORT;
use crate::known_hosts::{self, Known};

/// How a server proves who it is. There is no way to accept just any key.
#[derive(Debug, Clone)]
pub(crate) enum HostKeyPolicy {
    /// Only keys, or certificate authorities, that these files record for the host.
    Known(Vec<PathBuf>),
    /// Only keys with one of these fingerprints.
    Fingerprints(Vec<Fingerprint>),
    /// As `Known`; a host of which nothing at all is recorded is recorded in the first file.
    FirstUse(Vec<PathBuf>),
}

impl HostKeyPolicy {
    /// The files that OpenSSH reads unless told otherwise: the user's, and the system's.
    pub(crate) fn default_files() -> Vec<PathBuf> {
        let home = std::env::home_dir().into_iter().map(|home| home.join(".ssh"));
        let directories = home.map(|home| (home, "known_hosts")).chain([("/etc/ssh".into(), "ssh_known_hosts")]);
        directories.flat_map(|(directory, name)| [directory.join(name), directory.join(format!("{name}2"))]).collect()
    }
}

/// One server as its key is looked up: where it is, the name that stands for that, and the policy.
#[derive(Debug, Clone)]
pub(crate) struct HostKeyCheck {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As in OpenSSH, it stands for the host and its port: it is looked up and recorded alone.
    pub(crate) alias: Option<String>,
    pub(crate) policy: HostKeyPolicy,
}

impl HostKeyCheck {
    /// The key algorithms to ask the server for, those of recorded keys first, so that it shows a key that is known.
    /// The second list is those for which a certificate is welcome. SHA-1 signatures are in neither.
    pub(crate) fn algorithms(&self) -> Result<(Vec<Algorithm>, Vec<Algorithm>)> {
        let known = self.lookup()?;
        let mut algorithms = supported();
        let recorded = if plain(&known.exact).next().is_some() { &known.exact } else { &known.portless };
        algorithms.sort_by_key(|algorithm| !plain(recorded).any(|known| same_type(algorithm, &known.key.algorithm())));
        let certificates = if authorities(&known).next().is_some() { supported() } else { Vec::new() };
        Ok((algorithms, certificates))
    }

    /// Accepts or refuses what the server showed.
    ///
    /// # Errors
    /// `Unauthorized` with the fingerprint, and with the file and line that it disagrees with.
    pub(crate) fn verify(&self, shown: &PublicKeyOrCertificate) -> Result<()> {
        let key = shown.public_key();
        let outcome = match (&self.policy, shown.certificate()) {
            (HostKeyPolicy::Fingerprints(expected), _) => check_fingerprint(expected, &key),
            (_, Some(certificate)) => self.check_certificate(certificate),
            (_, None) => self.check_key(&key),
        };
        outcome.map_err(|error| {
            let error = error.not_applied().with_operation("verify the host key").with("host", self.name(self.port));
            error.with("fingerprint", fingerprint(&key))
        })
    }

    /// What stands for the server with this port in a `known_hosts` file.
    fn name(&self, port: u16) -> String {
        match &self.alias {
            Some(alias) => alias.to_lowercase(),
            None => known_hosts::recorded_name(&self.host, port),
        }
    }

    fn check_key(&self, key: &PublicKey) -> Result<()> {
        let known = self.lookup()?;
        refuse_revoked(&known, key)?;
        if plain(&known.exact).chain(plain(&known.portless)).any(|known| same_key(&known.key, key)) {
            return Ok(());
        }
        // Anyone can make a key of another type: that a recorded key is missing is as bad as that it differs.
        let same_type = plain(&known.exact).find(|known| known.key.algorithm() == key.algorithm());
        match (same_type.or(plain(&known.exact).next()), &self.policy) {
            (Some(recorded), _) => Err(changed(recorded, key)),
            (None, HostKeyPolicy::FirstUse(files)) if authorities(&known).next().is_none() => {
                let file = files.first().map_or(Path::new("known_hosts"), PathBuf::as_path);
                known_hosts::record(file, &self.name(self.port), key)
            }
            (None, _) => Err(self.unknown()),
        }
    }

    fn check_certificate(&self, certificate: &Certificate) -> Result<()> {
        let known = self.lookup()?;
        refuse_revoked(&known, &PublicKey::from(certificate.public_key().clone()))?;
        refuse_revoked(&known, &PublicKey::from(certificate.signature_key().clone()))?;
        let refuse =
            |why: String| Err(Error::new(ErrorKind::Unauthorized, why).with("certificate", certificate.key_id()));

        let fingerprints: Vec<_> = authorities(&known).map(|known| known.key.fingerprint(HashAlg::Sha256)).collect();
        let signer = certificate.signature_key().fingerprint(HashAlg::Sha256);
        if !fingerprints.contains(&signer) {
            return refuse(format!(
                "the server's certificate is signed by an authority that is not recorded: {signer}"
            ));
        }
        if certificate.cert_type() != CertType::Host {
            return refuse("the server showed a certificate that is not for hosts".to_owned());
        }
        if !certificate.critical_options().is_empty() {
            return refuse(
                "the server's certificate has critical options, of which none is defined for hosts".to_owned(),
            );
        }
        let host = self.alias.as_ref().unwrap_or(&self.host).to_lowercase();
        if !certificate.valid_principals().iter().any(|name| name.to_lowercase() == host) {
            let names = certificate.valid_principals().join(", ");
            return refuse(format!("the server's certificate is for {names:?}, not for {host}"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match certificate.validate_at(now, &fingerprints) {
            Ok(()) => Ok(()),
            Err(_) => refuse("the server's certificate has expired, is not valid yet, or is forged".to_owned()),
        }
    }

    fn lookup(&self) -> Result<Records> {
        let lines = |port| known_hosts::lookup(self.files(), &self.name(port));
        let has_two_names = self.alias.is_none() && self.port != DEFAULT_PORT;
        let portless = if has_two_names { lines(DEFAULT_PORT)? } else { Vec::new() };
        Ok(Records { exact: lines(self.port)?, portless })
    }

    fn files(&self) -> &[PathBuf] {
        match &self.policy {
            HostKeyPolicy::Known(files) | HostKeyPolicy::FirstUse(files) => files,
            HostKeyPolicy::Fingerprints(_) => &[],
        }
    }

    fn unknown(&self) -> Error {
        let name = self.name(self.port);
        let files: Vec<_> = self.files().iter().map(|file| file.display().to_string()).collect();
        Error::new(
            ErrorKind::Unauthorized,
            format!("the host key is not known: no known_hosts line for {name} holds it"),
        )
        .with("files", files.join(", "))
        .with_hint(format!(
            "compare the fingerprint with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the server, and \
                 if it is the same, record it: `{}`",
            self.scan()
        ))
    }

    /// The command that records the keys which the server shows, where they are looked for.
    fn scan(&self) -> String {
        let mut command = format!("ssh-keyscan -p {} {}", self.port, self.host);
        if let Some(alias) = &self.alias {
            command.push_str(&format!(" | sed {}", quote(&format!("s|^[^# ][^ ]*|{alias}|"))));
        }
        let Some(file) = self.files().first() else { return command };
        let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty() && !directory.is_dir());
        let make = directory.map(|directory| format!("mkdir -p {} && ", quote(&directory.display().to_string())));
        format!("{}{command} >> {}", make.unwrap_or_default(), quote(&file.display().to_string()))
    }
}

/// Whether a name can stand alone in a line of a `known_hosts` file, and in a command.
pub(crate) fn is_alias(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('@')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-:%@+/[]".contains(c))
}

fn check_fingerprint(expected: &[Fingerprint], key: &PublicKey) -> Result<()> {
    if expected.iter().any(|expected| key.fingerprint(expected.algorithm()) == *expected) {
        return Ok(());
    }
    let expected: Vec<_> = expected.iter().map(Fingerprint::to_string).collect();
    Err(Error::new(ErrorKind::Unauthorized, "the host key does not have the expected fingerprint")
        .with("expected", expected.join(" or "))
        .with_hint("if the server was set up anew, compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on it; otherwise someone is in between"))
}

/// The lines that speak of a host.
#[derive(Debug, Default)]
struct Records {
    /// Those for the host and port.
    exact: Vec<Known>,
    /// Where the port is not 22 and there is no alias, those for the host without a port. As in OpenSSH, they can vouch for a key (it is the
    /// host's other sshd), and say nothing when they differ.
    portless: Vec<Known>,
}

impl Records {
    fn all(&self) -> impl Iterator<Item = &Known> {
        self.exact.iter().chain(&self.portless)
    }
}

fn plain(known: &[Known]) -> impl Iterator<Item = &Known> {
    known.iter().filter(|known| known.marker.is_none())
}

fn authorities(known: &Records) -> impl Iterator<Item = &Known> {
    known.all().filter(|known| known.marker == Some(Marker::CertAuthority))
}

fn refuse_revoked(known: &Records, key: &PublicKey) -> Result<()> {
    match known.all().find(|known| known.marker == Some(Marker::Revoked) && same_key(&known.key, key)) {
        None => Ok(()),
        Some(revoked) => Err(Error::new(ErrorKind::Unauthorized, "the host key is revoked")
            .with("line", &revoked.place)
            .with_hint("do not connect: whoever holds this key may not be the server")),
    }
}

fn changed(recorded: &Known, key: &PublicKey) -> Error {
    let what = if recorded.key.algorithm() == key.algorithm() {
        "the host key has changed".to_owned()
    } else {
        let (shown, known) = (key.algorithm(), recorded.key.algorithm());
        format!("the server shows a key of another type ({shown}) than the recorded one ({known})")
    };
    Error::new(ErrorKind::Unauthorized, what)
        .with("recorded", fingerprint(&recorded.key))
        .with("line", &recorded.place)
        .with_hint("someone may be in between; if the server was set up anew, remove that line and record the new key")
}

fn fingerprint(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

/// Without the comment, which says nothing about the key.
fn same_key(one: &PublicKey, other: &PublicKey) -> bool {
    one.key_data() == other.key_data()
}

fn same_type(asked: &Algorithm, recorded: &Algorithm) -> bool {
    match (asked, recorded) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
        (asked, recorded) => asked == recorded,
    }
}

fn supported() -> Vec<Algorithm> {
    let curves = [EcdsaCurve::NistP256, EcdsaCurve::NistP384, EcdsaCurve::NistP521];
    let rsa = [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) });
    [Algorithm::Ed25519].into_iter().chain(curves.map(|curve| Algorithm::Ecdsa { curve })).chain(rsa).collect()
}

/// russh's default preferences, with these host key algorithms.
pub(crate) fn preferred(keys: Vec<Algorithm>, certificates: Vec<Algorithm>) -> russh::Preferred {
    russh::Preferred {
        key: Cow::Owned(keys),
        host_key_certificates: Cow::Owned(certificates),
        cipher: Cow::Borrowed(CIPHERS),
        kex: Cow::Owned([&russh::Preferred::DEFAULT.kex, LAST_KEX].concat()),
        ..russh::Preferred::DEFAULT
    }
}

/// What some servers have alone, for the sake of FIPS 140. Behind the default list, whose pseudo-algorithms stay in force.
const LAST_KEX: &[russh::kex::Name] =
    &[russh::kex::ECDH_SHA2_NISTP256, russh::kex::ECDH_SHA2_NISTP384, russh::kex::ECDH_SHA2_NISTP521];

/// AES-GCM first: with the instructions that servers have had for ten years, it takes the least time at both ends.
const CIPHERS: &[russh::cipher::Name] = &[
    russh::cipher::AES_128_GCM,
    russh::cipher::AES_256_GCM,
    russh::cipher::CHACHA20_POLY1305,
    russh::cipher::AES_256_CTR,
    russh::cipher::AES_192_CTR,
    russh::cipher::AES_128_CTR,
];
