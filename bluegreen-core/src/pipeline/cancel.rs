use futures::future::select_all;
use tokio_util::sync::CancellationToken;

/// The tokens of a pipeline and of an operation: any of them cancels.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancel(Vec<CancellationToken>);

impl Cancel {
    pub(super) fn add(&mut self, token: CancellationToken) {
        self.0.push(token);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.0.iter().any(CancellationToken::is_cancelled)
    }

    /// Returns when one of them is cancelled; never, where there is none.
    pub(super) async fn cancelled(&self) {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        select_all(self.0.iter().map(|token| Box::pin(token.cancelled()))).await;
    }
}
