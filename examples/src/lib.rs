//! What the examples share: small HTTP services to deploy, what surrounds them, and clients that send them steady traffic
//! and count.

pub mod cli;
pub mod customers;
pub mod http_server;
pub mod lab;
pub mod nginx;
pub mod place;
pub mod registry;
pub mod service;
pub mod shop_image;
pub mod traffic;
pub mod two_servers;

/// The code in the documents is compiled, and what can be run is run.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    struct Readme;

    #[doc = include_str!("../../docs/compose.md")]
    struct Compose;

    #[doc = include_str!("../../docs/testing-your-pipeline.md")]
    struct TestingYourPipeline;

    #[doc = include_str!("../../docs/writing-an-adapter.md")]
    struct WritingAnAdapter;

    #[doc = include_str!("../../docs/guides/approve.md")]
    struct GuideApprove;

    #[doc = include_str!("../../docs/guides/axum.md")]
    struct GuideAxum;

    #[doc = include_str!("../../docs/guides/backup.md")]
    struct GuideBackup;

    #[doc = include_str!("../../docs/guides/cancel.md")]
    struct GuideCancel;

    #[doc = include_str!("../../docs/guides/hooks.md")]
    struct GuideHooks;

    #[doc = include_str!("../../docs/guides/output.md")]
    struct GuideOutput;

    #[doc = include_str!("../../docs/guides/several-services.md")]
    struct GuideSeveralServices;

    #[doc = include_str!("../../docs/guides/webhook.md")]
    struct GuideWebhook;
}
