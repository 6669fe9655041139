//! A command on a terminal of the server, connected to a terminal here.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bluegreen_core::{Command, Error, ErrorKind, Output, Result};
use bytes::Bytes;
use russh::ChannelMsg;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{self, OptionalActions, Termios, Winsize};
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::close_on_drop::CloseOnDrop;
use crate::exec::name_of;
use crate::files::failed;
use crate::run;
use crate::script::Script;
use crate::session::Session;

pub(crate) async fn run(session: &Session, terminal: &Path, command: &Command) -> Result<Output> {
    let terminal = Terminal::open(terminal)?;
    let script = Script::command(command)?;
    // What is typed into a terminal is echoed and cut at 4096 bytes, so the script goes ahead of it, in a file.
    let store = Script::inline(STORE, &[]);
    let text = format!("rm -f -- \"$0\"\n{}\n", script.text());
    let stored = run::inline(session, &store, Bytes::from(text)).await?;
    if !stored.success() {
        return Err(failed(&stored).not_applied());
    }
    let file = stored.text();
    if !file.starts_with('/') || !file.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) {
        return Err(Error::new(ErrorKind::Unexpected, format!("the server made a strange temporary file: {file:?}")));
    }

    let connection = session.connection().await?;
    let (channel, place) = connection.fresh_session().await.map_err(|failure| Error::from(failure).not_applied())?;
    let (mut read, write) = channel.split();
    let write = Arc::new(write);
    let _close = CloseOnDrop(Arc::clone(&write));
    let size = terminal.size();
    let (columns, rows) = (u32::from(size.ws_col), u32::from(size.ws_row));
    let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
    let begin = async {
        write.request_pty(true, &term, columns, rows, 0, 0, &[]).await?;
        write.exec(true, format!("exec sh {file}")).await
    };
    begin.await.map_err(|error| Error::from(crate::failure::Failure::from(error)))?;
    let mut changed = signal(SignalKind::window_change()).map_err(terminal_error)?;

    let mut raw = terminal.raw()?;
    let mut typed = raw.typed()?;
    // Beside the rest: a server may take nothing while it prints.
    let feed = async {
        while let Some(bytes) = typed.recv().await {
            if write.data_bytes(bytes).await.is_err() {
                break;
            }
        }
    };
    tokio::pin!(feed);
    let mut feeding = true;
    let mut output = Output::default();
    loop {
        tokio::select! {
            message = read.wait() => match message {
                Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) => raw.print(&data).await?,
                Some(ChannelMsg::ExitStatus { exit_status }) => output.status = i32::try_from(exit_status).ok(),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => output.signal = Some(name_of(&signal_name)),
                Some(ChannelMsg::Failure) => return Err(refused()),
                Some(ChannelMsg::Close) => break,
                None => return Err(run::cut_off(connection.lost().await)),
                Some(_) => {}
            },
            _ = changed.recv() => {
                let size = raw.size();
                // A window that is drawn wrongly is no reason to break off.
                let _ = write.window_change(u32::from(size.ws_col), u32::from(size.ws_row), 0, 0).await;
            }
            () = &mut feed, if feeding => feeding = false,
        }
    }
    drop(place);
    if output.status.is_none() && output.signal.is_none() {
        return Err(Error::new(ErrorKind::Unreachable, "the server closed the terminal without an exit status"));
    }
    Ok(output)
}

/// Keeps the script where only its user can read it; the script removes itself.
const STORE: &str = r#"file=$(mktemp "${TMPDIR:-/tmp}/console-XXXXXX") && cat > "$file" && printf '%s\n' "$file""#;

fn refused() -> Error {
    Error::new(ErrorKind::Unauthorized, "the server refused a terminal or the command").not_applied()
}

struct Terminal {
    device: File,
}

impl Terminal {
    fn open(path: &Path) -> Result<Self> {
        let none = || {
            Error::config("a console needs a terminal")
                .with("terminal", path.display())
                .with_hint("for scripts, run a command instead")
        };
        let device = OpenOptions::new().read(true).write(true).open(path).map_err(|error| none().with_source(error))?;
        if termios::isatty(&device) { Ok(Self { device }) } else { Err(none()) }
    }

    fn size(&self) -> Winsize {
        let default = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        termios::tcgetwinsize(&self.device).ok().filter(|size| size.ws_col > 0).unwrap_or(default)
    }

    fn raw(self) -> Result<Raw> {
        let before = termios::tcgetattr(&self.device).map_err(|error| terminal_error(error.into()))?;
        let printer = tokio::fs::File::from_std(self.device.try_clone().map_err(terminal_error)?);
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&self.device, OptionalActions::Now, &raw).map_err(|error| terminal_error(error.into()))?;
        Ok(Raw { terminal: self, printer, before, stop: Arc::default() })
    }
}

/// A terminal in raw mode; dropping it brings the old mode back.
struct Raw {
    terminal: Terminal,
    printer: tokio::fs::File,
    before: Termios,
    stop: Arc<AtomicBool>,
}

impl Raw {
    fn size(&self) -> Winsize {
        self.terminal.size()
    }

    async fn print(&mut self, data: &[u8]) -> Result<()> {
        self.printer.write_all(data).await.map_err(terminal_error)?;
        self.printer.flush().await.map_err(terminal_error)
    }

    /// What is typed. A thread of its own waits for it, and looks ten times a second whether it is still wanted: a
    /// thread that waits in `read` would hold up the end of the program until a key is pressed.
    fn typed(&self) -> Result<mpsc::Receiver<Bytes>> {
        let (sender, receiver) = mpsc::channel(16);
        let stop = Arc::clone(&self.stop);
        let mut device = self.terminal.device.try_clone().map_err(terminal_error)?;
        let look = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let read = move || {
            let mut buffer = vec![0; 4096];
            while !stop.load(Relaxed) {
                let ready = poll(&mut [PollFd::new(&device, PollFlags::IN)], Some(&look));
                if !matches!(ready, Ok(count) if count > 0) {
                    continue;
                }
                match device.read(&mut buffer) {
                    Ok(count) if count > 0 => {
                        if sender.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_err() {
                            break;
                        }
                    }
                    _ => break,
                }
            }
        };
        std::thread::Builder::new().name("console".to_owned()).spawn(read).map_err(terminal_error)?;
        Ok(receiver)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = termios::tcsetattr(&self.terminal.device, OptionalActions::Now, &self.before);
    }
}

fn terminal_error(error: io::Error) -> Error {
    Error::from(error).with_operation("use the terminal")
}
