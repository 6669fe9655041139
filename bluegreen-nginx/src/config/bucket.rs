use serde::Deserialize;

/// What decides in which of the 100 buckets a request is; green has as many buckets as it has percent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BucketBy {
    /// Each request for itself.
    ///
    /// The key is `$connection-$connection_requests`, which is different for each request of one run of nginx. It costs
    /// 0.2 µs; `$request_id`, the obvious key, costs 1.3 µs, most of it for random numbers. See the [crate's
    /// page](crate#measured).
    Request,
    /// The client's address, so that a client stays on its slot while the split stands. Behind a proxy, all clients are
    /// one unless the realip module restores their addresses.
    ClientAddress,
    /// A cookie of this name, which nginx sets for 30 days and which holds the bucket, not the slot: as the share of a
    /// slot grows, clients move to it, and none moves back. The name is made of letters, digits and `_`.
    Cookie(String),
}
