//! The versions of the service: each can live with the data of the one before and the one after.

use std::fmt;

use bluegreen_core::{Error, Result, Version};

/// What a version does with the old table `customers` and the new one `people`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// 1.0 knows the old table alone.
    Old,
    /// 2.0 writes both, and reads the old one: the new one lacks what was there before.
    WritesBoth,
    /// 3.0 reads the new one, and writes both: 2.0 can have the traffic back.
    ReadsNew,
    /// 4.0 knows the new table alone.
    New,
}

impl Stage {
    /// All of them, in the order in which they are deployed.
    pub const ALL: [Self; 4] = [Self::Old, Self::WritesBoth, Self::ReadsNew, Self::New];

    /// The version that is like this.
    pub const fn version(self) -> &'static str {
        match self {
            Self::Old => "1.0",
            Self::WritesBoth => "2.0",
            Self::ReadsNew => "3.0",
            Self::New => "4.0",
        }
    }

    /// What a version is like.
    ///
    /// # Errors
    /// `Config` when there is no such version.
    pub fn of(version: &Version) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|stage| stage.version() == version.as_str());
        known.ok_or_else(|| Error::config(format!("nobody said what {version} does with the tables")))
    }

    /// Whether it reads the new table.
    pub fn reads_new(self) -> bool {
        self >= Self::ReadsNew
    }

    /// Whether it writes the new table.
    pub fn writes_new(self) -> bool {
        self >= Self::WritesBoth
    }

    /// Whether it writes the old table.
    pub fn writes_old(self) -> bool {
        self <= Self::ReadsNew
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version())
    }
}
