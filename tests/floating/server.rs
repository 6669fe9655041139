//! A server in a network namespace: sshd, and an nginx that serves what was deployed. Both end with the value.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use bluegreen_testkit::lab::Namespace;
use bluegreen_testkit::patience::{PATIENCE, comes};
use bluegreen_testkit::pids::{descendants, send};
use bluegreen_testkit::process::terminate;
use bluegreen_testkit::ssh::{configure, keygen};
use rustix::process::Signal;

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
        configure(directory, address, "");
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
        let has_pid = || fs::read_to_string(self.directory.join("nginx.pid")).is_ok_and(|pid| !pid.is_empty());
        assert!(comes(PATIENCE, has_pid), "nginx did not start: {}", self.log());
    }

    /// Ends the web server, as a crash would.
    pub(crate) fn stop_nginx(&self) {
        let Some(mut child) = self.nginx.lock().unwrap().take() else { return };
        terminate(&mut child);
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
        descendants(self.sshd.id().cast_signed()).into_iter().for_each(|pid| send(pid, Signal::KILL));
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
        if std::thread::panicking() {
            eprintln!("--- log of nginx in {}\n{}", self.namespace, self.log());
        }
    }
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
