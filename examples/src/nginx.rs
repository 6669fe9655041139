//! An nginx for an example: its own folder, configuration and port; nothing of the machine's own nginx is touched.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bluegreen_core::{Error, ErrorKind, Result};
use bluegreen_nginx::{Commands, Layout, NginxConfig};
use rustix::process::{Pid, Signal, getuid, kill_process};

/// A running nginx. Dropping it ends it.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Nginx {
    /// Starts one whose files are all in this folder, which it makes.
    ///
    /// # Errors
    /// When there is no nginx, or it does not come up.
    pub fn start(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        std::fs::create_dir_all(folder.join("conf.d"))?;
        let here = folder.display();
        // The workers are the same user as their master, and can read what is here.
        let user = if getuid().is_root() { "user root;" } else { "" };
        let main = format!(
            "{user} worker_processes 2; daemon off; pid {here}/nginx.pid; error_log {here}/error.log notice;
             events {{ worker_connections 1024; }}
             http {{
                 access_log off;
                 client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;
                 uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
                 include {here}/conf.d/*.conf;
             }}\n"
        );
        std::fs::write(folder.join("nginx.conf"), main)?;
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut command = Command::new("nginx");
        command.args(words(&folder)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C in the terminal ends the deployer, not the traffic.
        let child = command.process_group(0).spawn().map_err(|error| {
            Error::from(error).with_operation("start nginx").with_hint("install it: Debian's package is nginx-light")
        })?;
        let nginx = Self { child, folder, address };
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::fs::read(nginx.folder.join("nginx.pid")).map_or(true, |pid| pid.is_empty()) {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(nginx.folder.join("error.log")).unwrap_or_default();
                return Err(Error::new(ErrorKind::Timeout, format!("nginx does not start: {log}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(nginx)
    }

    /// Where everyone reaches the service.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The site of a service on the nginx of this folder, at its address.
pub fn site(folder: &Path, address: SocketAddr, service: &str) -> NginxConfig {
    let path = |name: &str| folder.join(name).display().to_string();
    let layout = Layout::debian()
        .state_directory(path(&format!("state/{service}")))
        .site_file(path(&format!("conf.d/{service}.conf")))
        .pid_file(path("nginx.pid"))
        .error_log(path("error.log"));
    let commands = Commands::new().nginx(std::iter::once("nginx".to_owned()).chain(words(folder)));
    NginxConfig::new(service).listen(address.to_string()).default_server(true).layout(layout).commands(commands)
}

/// What makes it use this folder alone.
fn words(folder: &Path) -> [String; 4] {
    let path = |name: &str| folder.join(name).display().to_string();
    ["-p".to_owned(), path(""), "-c".to_owned(), path("nginx.conf")]
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killing the master would leave its workers.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
