//! The processes of this machine, as Linux shows them to this process in `/proc`.

use std::fs;

/// What `/proc/<pid>/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    state: char,
    /// The id of its session, which is the pid of the session's leader.
    pub session: i32,
    /// Clock ticks from the boot of the machine to the start of the process. A pid that is used again has another one.
    pub start_time: u64,
}

impl Stat {
    /// The process that has this pid now, also a zombie, which keeps the pid. `None` where there is none, and where procfs is
    /// missing or hides it.
    pub fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Whether it has not ended. A zombie has; only its parent has not asked for its exit status yet.
    pub fn is_running(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let session = fields.nth(2)?.parse().ok()?;
        let start_time = fields.nth(15)?.parse().ok()?;
        Some(Self { state, session, start_time })
    }
}

/// Names the present boot of the machine. `None` where procfs is missing.
pub fn boot_id() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let text = "42 (a) b (c) S 1 42 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 123456 1000 1 2 3";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.session, stat.start_time), ('S', 7, 123_456));
        assert!(Stat::parse("").is_none());
        assert!(Stat::parse("1 (x) S 1").is_none());
    }
}
