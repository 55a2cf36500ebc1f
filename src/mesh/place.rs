//! Where a connection is kept on its core: what messages between cores name it by.

/// Where a connection is kept, and which of the successive ones in that place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// Index among the core's connections.
    pub index: u32,
    /// Rises each time the place is used again.
    pub generation: u32,
}

/// Generations wrap at 24 bits, which is what a ring token has room for.
const GENERATION_MASK: u32 = 0x00ff_ffff;

impl Place {
    /// No connection: a transaction that a core begins for itself.
    pub const NOWHERE: Place = Place {
        index: u32::MAX,
        generation: u32::MAX,
    };

    /// As a ring token.
    #[inline]
    pub fn token(self) -> u64 {
        u64::from(self.generation & GENERATION_MASK) << 32 | u64::from(self.index)
    }

    /// From a ring token.
    #[inline]
    pub fn of_token(token: u64) -> Self {
        Place {
            index: token as u32,
            generation: (token >> 32) as u32 & GENERATION_MASK,
        }
    }

    /// The place's next generation.
    #[must_use]
    pub fn next(self) -> Self {
        Place {
            generation: (self.generation + 1) & GENERATION_MASK,
            ..self
        }
    }
}
