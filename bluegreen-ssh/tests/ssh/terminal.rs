//! A terminal with a person at it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bluegreen_testkit::patience::eventually;
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

/// A terminal: the side that a program uses, and the side that a person sits at.
pub(crate) struct Terminal {
    pub(crate) device: PathBuf,
    pub(crate) person: File,
    /// Kept open, so that the terminal's mode can be looked at.
    pub(crate) program: File,
    pub(crate) seen: Arc<Mutex<String>>,
}

impl Terminal {
    pub(crate) fn open() -> Self {
        let flags =
            rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY | rustix::pty::OpenptFlags::CLOEXEC;
        let person: OwnedFd = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&person).unwrap();
        rustix::pty::unlockpt(&person).unwrap();
        let device = PathBuf::from(rustix::pty::ptsname(&person, Vec::new()).unwrap().into_string().unwrap());
        let program = File::options().read(true).write(true).open(&device).unwrap();
        let person = File::from(person);
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut eyes, memory) = (person.try_clone().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = eyes.read(&mut buffer) {
                memory.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        let terminal = Self { device, person, program, seen };
        terminal.resize(100, 30);
        terminal
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        tcsetwinsize(&self.program, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    }

    pub(crate) fn types(&self, text: &str) {
        (&self.person).write_all(text.as_bytes()).unwrap();
    }

    pub(crate) async fn sees(&self, text: &str) {
        let seen = Arc::clone(&self.seen);
        let what = format!("{text:?} is seen");
        eventually(&what, async || seen.lock().unwrap().contains(text)).await;
    }

    pub(crate) fn is_raw(&self) -> bool {
        !tcgetattr(&self.program).unwrap().local_modes.contains(rustix::termios::LocalModes::ICANON)
    }
}
