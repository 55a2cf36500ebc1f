//! Publish and subscribe, without clients and cores: who has subscribed to what, and what a message looks like.
//!
//! Three views of the same subscriptions. A client knows its own (`subscriptions.rs`). A core knows which of its clients
//! have subscribed to what (`registry.rs`). Every shard knows how many subscribers each core has (`audience.rs`), so a
//! message finds the cores it must go to, and its receivers are counted, wherever it is published.
//! `tracking.rs` knows who must hear that a key has changed.
//! `news.rs` collects what handlers have to say to clients until the engine delivers it.

mod audience;
mod message;
mod news;
mod registry;
mod subscriptions;
mod tracking;

pub use audience::{Audience, Cores, Subscription};
pub use message::{Message, Publication, confirmation};
pub use news::{Change, News, Outgoing};
pub use registry::Registry;
pub use subscriptions::{Subscriptions, Topic};
pub use tracking::{Form, Group, Invalidation, Tracker, Tracking, Whereabouts};
