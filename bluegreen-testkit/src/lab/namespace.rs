use std::future::Future;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A network namespace, with a thread in it that runs futures: the sockets that they make belong to it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    /// A new one, with the loopback up, that forwards nothing: an old holder would pass on what a stale neighbour sends.
    pub fn create(role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bg{}-{}-{role}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run(&["ip", "netns", "add", &name]);
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        let inner = name.clone();
        let thread = std::thread::spawn(move || {
            let file = std::fs::File::open(format!("/run/netns/{inner}")).unwrap();
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tell.send(runtime.handle().clone()).unwrap();
            let _ = runtime.block_on(ended);
        });
        let handle = told.recv().unwrap();
        let namespace = Self { name, handle, end: Some(end), thread: Some(thread) };
        namespace.exec(&["ip", "link", "set", "lo", "up"]);
        for setting in ["net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"] {
            namespace.exec(&["sysctl", "-qw", setting]);
        }
        namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command in it; it must succeed.
    pub fn exec(&self, words: &[&str]) -> String {
        let mut all = vec!["ip", "netns", "exec", &self.name];
        all.extend(words);
        run(&all)
    }

    /// Runs a future in it.
    pub async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.handle.spawn(future).await.unwrap()
    }

    /// Has it run beside.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.handle.spawn(future)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Runs a command, which must succeed, and gives its output.
pub(super) fn run(words: &[&str]) -> String {
    crate::process::run(Command::new(words[0]).args(&words[1..]))
}
