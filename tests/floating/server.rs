//! A server in a network namespace: sshd, and an nginx that serves what was deployed. Both end with the value.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bluegreen_testkit::lab::Namespace;

pub(crate) struct Server {
    namespace: String,
    directory: PathBuf,
    sshd: Child,
    nginx: Mutex<Option<Child>>,
}

impl Server {
    /// Starts it on its own address; `key` may log in.
    pub(crate) fn start(namespace: &Namespace, address: &str, directory: &Path, key: &Path) -> Self {
        fs::create_dir_all(directory).unwrap();
        let at = directory.display();
        keygen(&directory.join("host_key"));
        fs::copy(key.with_extension("pub"), directory.join("authorized_keys")).unwrap();
        let config = format!(
            "ListenAddress {address}\nHostKey {at}/host_key\nPidFile none\nAuthorizedKeysFile {at}/authorized_keys\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nMaxStartups 100\nSetEnv SHLVL=1\n"
        );
        fs::write(directory.join("sshd_config"), config).unwrap();
        let _ = fs::create_dir("/run/sshd");
        fs::write(directory.join("nginx.conf"), nginx_configuration(directory)).unwrap();
        let sshd = spawn(namespace.name(), &["/usr/sbin/sshd", "-D", "-e", "-f", &format!("{at}/sshd_config")]);
        let (namespace, directory) = (namespace.name().to_owned(), directory.to_owned());
        let server = Self { namespace, directory, sshd, nginx: Mutex::new(None) };
        server.start_nginx();
        server
    }

    /// The directory that belongs to the service.
    pub(crate) fn app(&self) -> PathBuf {
        self.directory.join("app")
    }

    /// The line of a `known_hosts` file.
    pub(crate) fn known_host(&self, name: &str) -> String {
        let key = fs::read_to_string(self.directory.join("host_key.pub")).unwrap();
        format!("{name} {}\n", key.split(' ').take(2).collect::<Vec<_>>().join(" "))
    }

    pub(crate) fn start_nginx(&self) {
        let at = self.directory.display();
        let configuration = format!("{at}/nginx.conf");
        let child = spawn(&self.namespace, &["nginx", "-p", &format!("{at}/"), "-c", &configuration]);
        *self.nginx.lock().unwrap() = Some(child);
        let start = Instant::now();
        while fs::read_to_string(self.directory.join("nginx.pid")).map_or(true, |pid| pid.is_empty()) {
            assert!(start.elapsed() < Duration::from_secs(10), "nginx did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the web server, as a crash would.
    pub(crate) fn stop_nginx(&self) {
        let Some(mut child) = self.nginx.lock().unwrap().take() else { return };
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let start = Instant::now();
        while child.try_wait().is_ok_and(|status| status.is_none()) {
            if start.elapsed() > Duration::from_secs(5) {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = fs::remove_file(self.directory.join("nginx.pid"));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("error.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop_nginx();
        // Its sessions first: they would outlive it.
        let children = format!("/proc/{0}/task/{0}/children", self.sshd.id());
        for session in fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", session]).stderr(Stdio::null()).status();
        }
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
        if std::thread::panicking() {
            eprintln!("--- log of nginx in {}\n{}", self.namespace, self.log());
        }
    }
}

pub(crate) fn keygen(file: &Path) {
    let keygen = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file).status();
    assert!(keygen.unwrap().success());
}

fn spawn(namespace: &str, words: &[&str]) -> Child {
    // `ip` becomes the command: its pid is the command's.
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).args(words).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn nginx_configuration(directory: &Path) -> String {
    let at = directory.display();
    format!(
        "user root; worker_processes 1; daemon off; pid {at}/nginx.pid; error_log {at}/error.log notice;
         events {{ worker_connections 1024; }}
         http {{
             access_log off;
             client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
             fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
             server {{ listen 80; root {at}/app/current; index index.html; }}
         }}\n"
    )
}
