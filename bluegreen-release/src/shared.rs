//! [`Shared`]: what the members of a fleet would each make for themselves, made once for all that need it at the same time.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bluegreen_core::Result;

/// Values by key, each for as long as somebody holds it.
pub(crate) struct Shared<K, T>(Mutex<BTreeMap<K, Arc<Place<T>>>>);

/// Locked while the value is made.
type Place<T> = tokio::sync::Mutex<Weak<T>>;

impl<K: Ord, T> Shared<K, T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The value that somebody holds, or else a new one. Who asks while it is made waits for it, and makes it where that failed
    /// or was cut off.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) async fn get(&self, key: K, make: impl Future<Output = Result<T>>) -> Result<Arc<T>> {
        let place = self.place(key);
        let mut held = place.lock().await;
        if let Some(value) = held.upgrade() {
            return Ok(value);
        }
        let value = Arc::new(make.await?);
        *held = Arc::downgrade(&value);
        Ok(value)
    }

    fn place(&self, key: K) -> Arc<Place<T>> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, place| {
            Arc::strong_count(place) > 1 || place.try_lock().map_or(true, |held| held.strong_count() > 0)
        });
        places.entry(key).or_insert_with(|| Arc::new(Place::new(Weak::new()))).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bluegreen_core::{Error, ErrorKind};
    use futures::future::join_all;

    use super::*;

    #[tokio::test]
    async fn all_who_ask_at_the_same_time_get_one_value_and_who_asks_later_gets_a_new_one() {
        let (shared, made) = (Shared::new(), AtomicUsize::new(0));
        let make = async || {
            tokio::task::yield_now().await;
            Ok(made.fetch_add(1, Ordering::Relaxed))
        };
        let values = join_all((0..5).map(|_| shared.get("key", make()))).await;
        let values: Vec<_> = values.into_iter().map(Result::unwrap).collect();
        assert!(values.iter().all(|value| **value == 0), "{values:?}");
        assert_eq!(*shared.get("another", make()).await.unwrap(), 1);
        drop(values);
        assert_eq!(*shared.get("key", make()).await.unwrap(), 2);
        assert_eq!(shared.0.lock().unwrap().len(), 1, "what nobody holds is forgotten");
    }

    #[tokio::test]
    async fn a_failure_and_a_cut_off_leave_it_to_the_next_who_asks() {
        let shared: Shared<&str, u8> = Shared::new();
        let cut = tokio::time::timeout(std::time::Duration::ZERO, shared.get("key", std::future::pending()));
        assert!(cut.await.is_err());
        let failed = shared.get("key", async { Err(Error::new(ErrorKind::Corrupt, "no")) });
        let (failed, made) = tokio::join!(failed, shared.get("key", async { Ok(7) }));
        assert!(failed.is_err() && *made.unwrap() == 7);
    }
}
