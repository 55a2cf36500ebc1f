//! What cores ask of each other, and the channels, berths and wake-ups that carry it.

mod berth;
pub mod flow;
mod links;
pub mod message;
mod place;
pub mod primary;
mod ring;
mod sleep;
mod sync;

pub use berth::Berth;
pub use links::{CoreLink, Links};
pub use message::{Batch, Part, PartRequest};
pub use place::Place;
pub use ring::{Receiver, Sender, channel};
pub use sleep::{Sleep, Waiting};
