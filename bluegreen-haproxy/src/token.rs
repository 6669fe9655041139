//! [`Token`]: who holds the lock.

use std::fmt;

/// A number that no other holder has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn new() -> Self {
        Self(format!("{:032x}", fastrand::u128(..)))
    }

    /// The holder that HAProxy names. `Some(None)`: nobody. `None`: that is no answer to `get var`.
    pub(crate) fn of_holder(answer: &str) -> Option<Option<Self>> {
        if answer.starts_with("Variable not found") {
            return Some(None);
        }
        let (_, value) = answer.split_once("type=str value=<")?;
        let token = value.trim_end().strip_suffix('>')?;
        let is_token = token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_token.then(|| Some(Self(token.to_owned())))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_read_and_anything_else_is_not() {
        let token = Token::new();
        let answer = format!("proc.bluegreen_lock_shop: type=str value=<{token}>");
        assert_eq!(Token::of_holder(&answer), Some(Some(token)));
        assert_eq!(Token::of_holder("Variable not found."), Some(None));
        for bad in ["", "Unknown command", "proc.x: type=str value=<a),unset-var(b>", "proc.x: type=sint value=<3>"] {
            assert_eq!(Token::of_holder(bad), None, "{bad:?}");
        }
    }
}
