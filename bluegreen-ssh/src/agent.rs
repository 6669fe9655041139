//! The keys of an agent, by the protocol of RFC 9987.
//!
//! russh reads the answer too, and takes none of the keys when one comment is not UTF-8.

use std::io;
use std::path::Path;

use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_encoding::Decode;
use russh::keys::{Certificate, PublicKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;

/// An answer is not longer than this, as in OpenSSH.
const MAX_ANSWER: u32 = 256 << 10;

/// The keys and certificates that an agent holds. What cannot be read of them is left out.
pub(crate) async fn identities(socket: &Path) -> io::Result<Vec<AgentIdentity>> {
    let mut agent = UnixStream::connect(socket).await?;
    agent.write_all(&[0, 0, 0, 1, REQUEST_IDENTITIES]).await?;
    let length = agent.read_u32().await?;
    if length > MAX_ANSWER {
        return Err(io::Error::other("the answer is too long"));
    }
    let mut answer = vec![0; length as usize];
    agent.read_exact(&mut answer).await?;
    parse(&answer).map_err(io::Error::other)
}

fn parse(answer: &[u8]) -> Result<Vec<AgentIdentity>, String> {
    let Some((&IDENTITIES_ANSWER, mut rest)) = answer.split_first() else {
        return Err("it does not tell its keys".to_owned());
    };
    let broken = |_| "the answer is cut off".to_owned();
    let count = u32::decode(&mut rest).map_err(broken)?;
    let mut identities = Vec::new();
    for _ in 0..count {
        let key = Vec::<u8>::decode(&mut rest).map_err(broken)?;
        let comment = Vec::<u8>::decode(&mut rest).map_err(broken)?;
        let comment = String::from_utf8_lossy(&comment).into_owned();
        // A certificate would pass for a key of an unknown kind.
        if let Ok(certificate) = Certificate::from_bytes(&key) {
            identities.push(AgentIdentity::Certificate { certificate, comment });
        } else if let Ok(key) = PublicKey::from_bytes(&key) {
            identities.push(AgentIdentity::PublicKey { key, comment });
        }
    }
    Ok(identities)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    fn text(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    #[test]
    fn neither_a_comment_that_is_not_utf_8_nor_a_key_of_an_unknown_kind_hides_the_others() {
        let key = PublicKey::from_openssh(KEY).unwrap();
        let unknown = text(&[text(b"ssh-tomorrow"), vec![1, 2, 3]].concat());
        let known = text(&key.to_bytes().unwrap());
        let count = vec![IDENTITIES_ANSWER, 0, 0, 0, 2];
        let answer = [count, unknown, text(b"new"), known, text(b"J\xfcrgen")].concat();
        let found = parse(&answer).unwrap();
        let found = found.iter().find(|found| found.public_key().key_data() == key.key_data()).unwrap();
        assert_eq!(found.comment(), "J\u{fffd}rgen");
        assert!(parse(&answer[..answer.len() - 1]).is_err());
        assert!(parse(&[5]).is_err() && parse(&[]).is_err());
    }
}
