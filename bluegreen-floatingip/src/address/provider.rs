//! [`AddressProvider`]: one way of moving an address between two servers.

use std::fmt::{self, Debug, Display};

use async_trait::async_trait;
use auto_impl::auto_impl;
use bluegreen_core::{Result, ServiceName, Slot};

/// What a cloud, or any other mover of addresses, must be able to do for a
/// [`FloatingIpRouter`](crate::FloatingIpRouter). The provider knows which server each slot is; the router does the
/// rest: comparing, waiting, polling, and confirming.
///
/// # Contract
///
/// - Every method asks the provider itself, and can be repeated and cut off at any await.
/// - None of them takes the address away before it is given to the other server.
/// - Errors say by their effect whether anything may have been asked for, and by
///   [`is_retryable`](bluegreen_core::Error::is_retryable) whether the router may ask again.
/// - `Display` names address and provider: `203.0.113.7 at DigitalOcean`.
///
/// ```
/// use std::sync::Mutex;
///
/// use bluegreen_core::{Result, Router, Slot, Split};
/// use bluegreen_floatingip::{
///     ActionId, ActionState, AddressProvider, Assigned, FloatingIpRouter, Holder, Observed,
/// };
///
/// /// A cloud that is a variable.
/// #[derive(Debug, Default)]
/// struct Pocket(Mutex<Option<Slot>>);
///
/// impl std::fmt::Display for Pocket {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         f.write_str("203.0.113.7 in a pocket")
///     }
/// }
///
/// #[async_trait::async_trait]
/// impl AddressProvider for Pocket {
///     async fn observe(&self) -> Result<Observed> {
///         Ok(Observed::settled(self.0.lock().unwrap().map_or(Holder::Nobody, Holder::Slot)))
///     }
///
///     async fn preflight(&self, _to: Slot) -> Result<()> {
///         Ok(())
///     }
///
///     async fn assign(&self, to: Slot) -> Result<Assigned> {
///         *self.0.lock().unwrap() = Some(to);
///         Ok(Assigned::Done)
///     }
///
///     async fn poll(&self, _action: &ActionId) -> Result<ActionState> {
///         Ok(ActionState::Done)
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let router = FloatingIpRouter::new(Pocket::default());
/// router.shift(None, Split::all(Slot::Blue)).await?;
/// assert_eq!(router.current().await?, Some(Split::all(Slot::Blue)));
/// # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
/// ```
#[async_trait]
#[auto_impl(Arc, Box)]
pub trait AddressProvider: Debug + Display + Send + Sync + 'static {
    /// Says for which service the address is moved. From then on every method that asks the provider refuses an address that
    /// is marked as another service's, with [`Reason::OtherService`](bluegreen_core::Reason), and the first
    /// [`assign`](Self::assign) marks one that nobody has marked. See [`Ownership`](bluegreen_core::Ownership). No I/O,
    /// repeatable.
    ///
    /// Nothing is marked unless a provider does.
    ///
    /// # Errors
    /// `Conflict` for that reason when it acts for another service already; `Config` for a name that no mark can hold.
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        let _ = service;
        Ok(())
    }

    /// Refuses an address of another service, for calls that need nothing else of the provider.
    ///
    /// Nothing is checked unless a provider does.
    ///
    /// # Errors
    /// `Conflict` for that reason; when the mark cannot be read.
    async fn verify(&self) -> Result<()> {
        Ok(())
    }

    /// Who holds the address now, and whether that is about to change.
    ///
    /// # Errors
    /// `Unauthorized` when the provider does not tell who holds it: that is never [`Holder::Nobody`].
    async fn observe(&self) -> Result<Observed>;

    /// Looks whether the address could be moved to this slot's server: that it is there, active, and in the same region.
    ///
    /// # Errors
    /// With the reason; nothing is changed. A retryable one is worth another look in a few seconds.
    async fn preflight(&self, to: Slot) -> Result<()>;

    /// Asks for the address to be moved to this slot's server, or for a move that was cut off to be completed.
    ///
    /// # Errors
    /// With [`Effect::NotApplied`](bluegreen_core::Effect::NotApplied) only when the provider certainly does nothing.
    async fn assign(&self, to: Slot) -> Result<Assigned>;

    /// How far a move has come.
    ///
    /// # Errors
    /// When the provider does not tell. The router then looks at the address instead.
    async fn poll(&self, action: &ActionId) -> Result<ActionState>;
}

/// What [`AddressProvider::observe`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Who holds the address.
    pub holder: Holder,
    /// Whether that is about to change.
    pub transition: Transition,
}

/// Who holds an address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// The server of this slot.
    Slot(Slot),
    /// No server.
    Nobody,
    /// A server that is neither blue nor green, as the provider names it.
    Other(String),
    /// Both servers, which only happens to addresses that servers set up themselves.
    Both,
}

/// Whether the holder of an address is about to change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transition {
    /// No.
    Settled,
    /// The provider is working on it, for this reason. Waiting helps.
    Pending(String),
    /// A move to the holder was cut off, and waiting does not help: [`AddressProvider::assign`] completes it.
    Unfinished(String),
}

impl Observed {
    /// A holder that stays what it is.
    pub fn settled(holder: Holder) -> Self {
        Self { holder, transition: Transition::Settled }
    }

    pub(crate) fn is_settled_at(&self, slot: Slot) -> bool {
        self.holder == Holder::Slot(slot) && self.transition == Transition::Settled
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(slot) => write!(f, "{slot}"),
            Self::Nobody => f.write_str("nobody"),
            Self::Other(server) => write!(f, "{server}, which is neither blue nor green"),
            Self::Both => f.write_str("blue and green at once"),
        }
    }
}

/// What the provider said to [`AddressProvider::assign`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Assigned {
    /// The address has moved.
    Done,
    /// It is being moved.
    Started(ActionId),
    /// Not now, for this reason: something else is still going on. Nothing was asked for.
    Busy(String),
}

/// The provider's name for a move that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionId(String);

impl ActionId {
    /// As the provider names it.
    pub fn new(id: impl Display) -> Self {
        Self(id.to_string())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a move has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActionState {
    /// It goes on.
    Running,
    /// The provider says that it is done.
    Done,
    /// The provider says that it failed, and why.
    Failed(String),
}
