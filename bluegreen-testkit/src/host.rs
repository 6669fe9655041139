//! Hosts whose files are those of this machine, and whose commands are run another way.

use async_trait::async_trait;
use bluegreen_core::{Command, LocalHost, Output, Result, Tunnel};

/// What such a host does that this machine does not. [`host_with_local_files`](crate::host_with_local_files) makes a `Host`
/// of it.
#[async_trait]
pub trait Shell: Send + Sync {
    async fn execute(&self, command: &Command) -> Result<Output>;

    async fn reach(&self, address: &str) -> Result<Tunnel> {
        bluegreen_core::Host::tunnel(&LocalHost::new(), address).await
    }

    /// Called before a file is written.
    fn writes(&self, _path: &str, _contents: &[u8]) {}
}

/// `Host` for a [`Shell`](crate::host::Shell).
#[macro_export]
macro_rules! host_with_local_files {
    ($host:ty) => {
        #[::async_trait::async_trait]
        impl ::bluegreen_core::Host for $host {
            async fn run(
                &self,
                command: &::bluegreen_core::Command,
            ) -> ::bluegreen_core::Result<::bluegreen_core::Output> {
                $crate::host::Shell::execute(self, command).await
            }

            async fn read(&self, path: &str) -> ::bluegreen_core::Result<Option<Vec<u8>>> {
                ::bluegreen_core::LocalHost::new().read(path).await
            }

            async fn write(&self, path: &str, contents: &[u8], mode: u32) -> ::bluegreen_core::Result<()> {
                $crate::host::Shell::writes(self, path, contents);
                ::bluegreen_core::LocalHost::new().write(path, contents, mode).await
            }

            async fn upload(
                &self,
                local: &::std::path::Path,
                remote: &str,
                progress: &::bluegreen_core::Progress,
            ) -> ::bluegreen_core::Result<()> {
                ::bluegreen_core::LocalHost::new().upload(local, remote, progress).await
            }

            async fn download(
                &self,
                remote: &str,
                local: &::std::path::Path,
                progress: &::bluegreen_core::Progress,
            ) -> ::bluegreen_core::Result<()> {
                ::bluegreen_core::LocalHost::new().download(remote, local, progress).await
            }

            async fn symlink(&self, target: &str, link: &str) -> ::bluegreen_core::Result<()> {
                ::bluegreen_core::LocalHost::new().symlink(target, link).await
            }

            async fn tunnel(&self, address: &str) -> ::bluegreen_core::Result<::bluegreen_core::Tunnel> {
                $crate::host::Shell::reach(self, address).await
            }
        }
    };
}
