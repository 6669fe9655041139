//! Proving to a server who we are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bluegreen_core::{Error, ErrorKind, Result, Secret};
use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, signature};
use russh::{MethodKind, MethodSet};

use crate::agent;
use crate::failure::Failure;
use crate::identity::Identity;
use crate::settings::Settings;
use crate::text::read_text;
use crate::verifier::Verifier;

/// Tries the identities in order until the server accepts one.
///
/// # Errors
/// `Unauthorized` with all that was tried, what could not be tried and why, and what the server would accept.
pub(crate) async fn authenticate(handle: &mut Handle<Verifier>, settings: &Settings) -> Result<(), Failure> {
    let user = &settings.user;
    let mut attempt = Attempt {
        handle,
        user,
        rsa_hash: None,
        offered: Vec::new(),
        notes: Vec::new(),
        accepts: None,
        half_way: false,
    };
    let certificates = attempt.load_certificates(&settings.certificates).await;
    for identity in &settings.identities {
        let accepted = match identity {
            Identity::Agent { socket, only } => attempt.agent(socket.as_deref(), only.as_deref()).await?,
            Identity::File { path, passphrase } => attempt.file(path, passphrase.clone(), &certificates).await?,
            Identity::Key { text, passphrase } => {
                let key = decode(text.clone(), passphrase.clone()).await;
                attempt.key("the given key", key, &certificates).await?
            }
        };
        if accepted {
            return Ok(());
        }
        if attempt.is_hopeless() {
            break;
        }
    }
    Err(Failure::Refused(attempt.refused()))
}

struct Attempt<'a> {
    handle: &'a mut Handle<Verifier>,
    user: &'a str,
    /// The best signature for RSA keys, asked for once: `Some(None)` when the server knows SHA-1 only.
    rsa_hash: Option<Option<HashAlg>>,
    /// What was offered already, so that no key costs two of the server's few attempts.
    offered: Vec<Vec<u8>>,
    notes: Vec<String>,
    accepts: Option<MethodSet>,
    /// Whether the server has accepted a key, and wants something else besides.
    half_way: bool,
}

impl Attempt<'_> {
    async fn file(
        &mut self,
        path: &Path,
        passphrase: Option<Secret>,
        certificates: &[Certificate],
    ) -> Result<bool, Failure> {
        let name = format!("key {}", path.display());
        let text = match read_text(path) {
            Ok(text) => Secret::new(text),
            Err(error) => return self.skip(format!("{name}: {error}")),
        };
        if PublicKey::from_openssh(text.reveal()).is_ok() {
            // As in OpenSSH, a public key stands for the private one that the agent holds.
            return self.agent(None, Some(path)).await;
        }
        let mut certificates = certificates.to_vec();
        let beside = PathBuf::from(format!("{}-cert.pub", path.display()));
        if beside.exists() {
            certificates.extend(self.load_certificates(&[beside]).await);
        }
        let key = decode(text, passphrase).await;
        self.key(&name, key, &certificates).await
    }

    async fn key(
        &mut self,
        name: &str,
        key: Result<PrivateKey, String>,
        certificates: &[Certificate],
    ) -> Result<bool, Failure> {
        let key = match key {
            Ok(key) => Arc::new(key),
            Err(why) => return self.skip(format!("{name}: {why}")),
        };
        let hash = self.hash_for(key.algorithm()).await?;
        for certificate in certificates.iter().filter(|one| one.public_key() == key.public_key().key_data()) {
            let offer = certificate.to_bytes().unwrap_or_default();
            if !self.is_new(offer) {
                continue;
            }
            let mut signer = KeySigner(Arc::clone(&key));
            let (user, certificate) = (self.user, certificate.clone());
            let name = format!("{name} with certificate {}", certificate.key_id());
            let result = self.handle.authenticate_certificate_with(user, certificate, hash, &mut signer).await;
            if self.judge(name, result.map_err(|error| error.to_string()))? {
                return Ok(true);
            }
        }
        if !self.is_new(key.public_key().to_bytes().unwrap_or_default()) {
            return Ok(false);
        }
        let name = format!("{name} ({})", describe(key.public_key()));
        if key.algorithm().is_rsa() && hash.is_none() {
            return self.skip(format!("{name}: the server takes RSA keys with SHA-1 signatures only"));
        }
        let result = self.handle.authenticate_publickey(self.user, PrivateKeyWithHashAlg::new(key, hash)).await?;
        self.judge(name, Ok(result))
    }

    async fn agent(&mut self, socket: Option<&Path>, only: Option<&Path>) -> Result<bool, Failure> {
        let socket = match socket.map(Path::to_owned).or_else(|| std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from)) {
            Some(socket) => socket,
            None => return self.skip("agent: SSH_AUTH_SOCK is not set".to_owned()),
        };
        let wanted = match only.map(public_key_of) {
            Some(None) => return Ok(false),
            wanted => wanted.flatten(),
        };
        let mut agent = match AgentClient::connect_uds(&socket).await {
            Ok(agent) => agent,
            Err(error) => return self.skip(format!("agent at {}: {error}", socket.display())),
        };
        if let Some(binding) = self.handle.agent_session_binding() {
            // Agents that know no destination constraints refuse this, and need not know.
            let _ = agent.bind_session(binding, false).await;
        }
        let identities = match agent::identities(&socket).await {
            Ok(identities) => identities,
            Err(error) => return self.skip(format!("agent at {}: {error}", socket.display())),
        };
        if identities.is_empty() {
            self.notes.push(format!("agent at {}: it holds no key", socket.display()));
        }
        for identity in identities {
            let public = identity.public_key().into_owned();
            if wanted.as_ref().is_some_and(|wanted| wanted.key_data() != public.key_data()) {
                continue;
            }
            let hash = self.hash_for(public.algorithm()).await?;
            let name = format!("agent key {} ({})", identity.comment(), describe(&public));
            let (user, offer) = (self.user, offer_of(&identity));
            if !self.is_new(offer) {
                continue;
            }
            let result = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    self.handle.authenticate_publickey_with(user, key, hash, &mut agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    self.handle.authenticate_certificate_with(user, certificate, hash, &mut agent).await
                }
            };
            if self.judge(name, result.map_err(|error| error.to_string()))? {
                return Ok(true);
            }
            if self.is_hopeless() {
                break;
            }
        }
        Ok(false)
    }

    /// Notes the outcome of an offer. A signer that failed leaves the next one to be tried.
    fn judge(&mut self, name: String, result: Result<AuthResult, String>) -> Result<bool, Failure> {
        match result {
            Ok(AuthResult::Success) => return Ok(true),
            Ok(AuthResult::Failure { .. }) if self.handle.is_closed() => {
                self.notes.push(format!("{name}: the server closed the connection"));
            }
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                let outcome =
                    if partial_success { "accepted, but the server wants more than a key" } else { "refused" };
                self.notes.push(format!("{name}: {outcome}"));
                self.accepts = Some(remaining_methods);
                self.half_way |= partial_success;
            }
            Err(why) => self.notes.push(format!("{name}: it could not sign: {why}")),
        }
        Ok(false)
    }

    fn skip(&mut self, note: String) -> Result<bool, Failure> {
        self.notes.push(note);
        Ok(false)
    }

    fn is_new(&mut self, offer: Vec<u8>) -> bool {
        let new = !self.offered.contains(&offer);
        self.offered.push(offer);
        new
    }

    fn is_hopeless(&self) -> bool {
        let refuses_keys = |methods: &MethodSet| !methods.contains(&MethodKind::PublicKey);
        self.handle.is_closed() || self.accepts.as_ref().is_some_and(refuses_keys)
    }

    /// Waits up to a second for what the server supports, so it is asked for RSA keys only.
    async fn hash_for(&mut self, algorithm: Algorithm) -> Result<Option<HashAlg>, Failure> {
        if !algorithm.is_rsa() {
            return Ok(None);
        }
        if self.rsa_hash.is_none() {
            let best = self.handle.best_supported_rsa_hash().await?;
            // A server that does not tell is an old one, or another kind: rsa-sha2-256 is the more common of the two.
            self.rsa_hash = Some(best.unwrap_or(Some(HashAlg::Sha256)));
        }
        Ok(self.rsa_hash.flatten())
    }

    async fn load_certificates(&mut self, paths: &[PathBuf]) -> Vec<Certificate> {
        let mut certificates = Vec::new();
        for path in paths {
            let read = read_text(path).map_err(|error| error.to_string());
            match read.and_then(|text| Certificate::from_openssh(&text).map_err(|error| error.to_string())) {
                Ok(certificate) => certificates.push(certificate),
                Err(why) => self.notes.push(format!("certificate {}: {why}", path.display())),
            }
        }
        certificates
    }

    fn refused(self) -> Error {
        let tried = if self.notes.is_empty() { "there was no key to offer".to_owned() } else { self.notes.join("; ") };
        let error = Error::new(ErrorKind::Unauthorized, format!("the server did not let us in: {tried}"))
            .not_applied()
            .with("user", self.user);
        let error = match &self.accepts {
            Some(methods) => error.with("it accepts", methods.iter().map(<&str>::from).collect::<Vec<_>>().join(", ")),
            None => error,
        };
        let takes_keys = self.accepts.as_ref().is_none_or(|methods| methods.contains(&MethodKind::PublicKey));
        error.with_hint(match (self.half_way, takes_keys) {
            (true, _) => {
                "the key was accepted, and the server asks for more: let the account in with a key alone \
                 (Match User ..., AuthenticationMethods publickey in sshd_config)"
            }
            (false, true) => "is the public key in ~/.ssh/authorized_keys of that user? The server's log tells more",
            (false, false) => {
                "the server takes no keys from that user, and passwords are not supported: allow keys there \
                 (PubkeyAuthentication yes in sshd_config)"
            }
        })
    }
}

/// Signs with a key of ours, where russh would sign an RSA certificate with SHA-1.
struct KeySigner(Arc<PrivateKey>);

#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error("the connection is gone")]
    Gone,
    #[error(transparent)]
    Signature(#[from] signature::Error),
    #[error(transparent)]
    Encoding(#[from] russh::keys::ssh_encoding::Error),
}

impl From<russh::SendError> for SignError {
    fn from(_: russh::SendError) -> Self {
        Self::Gone
    }
}

impl russh::Signer for KeySigner {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        let signature = match self.0.key_data() {
            KeypairData::Rsa(pair) => signature::Signer::try_sign(&(pair, hash), &to_sign)?,
            pair => signature::Signer::try_sign(pair, &to_sign)?,
        };
        signature.encode_prefixed(&mut to_sign)?;
        Ok(to_sign)
    }
}

/// Deciphering a key takes a tenth of a second by design.
async fn decode(text: Secret, passphrase: Option<Secret>) -> Result<PrivateKey, String> {
    let decode = move || {
        let passphrase = passphrase.as_ref().map(Secret::reveal);
        russh::keys::decode_secret_key(text.reveal(), passphrase).map_err(|error| match error {
            russh::keys::Error::KeyIsEncrypted => "it needs a passphrase".to_owned(),
            _ if passphrase.is_some() => format!("it cannot be read: {error} (is the passphrase right?)"),
            error => format!("it cannot be read: {error}"),
        })
    };
    tokio::task::spawn_blocking(decode).await.unwrap_or_else(|error| Err(error.to_string()))
}

fn public_key_of(path: &Path) -> Option<PublicKey> {
    let beside = PathBuf::from(format!("{}.pub", path.display()));
    [beside.as_path(), path]
        .into_iter()
        .find_map(|path| read_text(path).ok().and_then(|text| PublicKey::from_openssh(text.trim()).ok()))
}

fn offer_of(identity: &AgentIdentity) -> Vec<u8> {
    match identity {
        AgentIdentity::PublicKey { key, .. } => key.to_bytes(),
        AgentIdentity::Certificate { certificate, .. } => certificate.to_bytes(),
    }
    .unwrap_or_default()
}

fn describe(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}
