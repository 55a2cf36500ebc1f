//! Sets of named bits: one declaration gives the constants, their words and the set operations.

/// Declares bit sets with names.
macro_rules! bits {
    ($(#[$doc:meta])* $type:ident: $repr:ty { $($(#[$bit_doc:meta])* $name:ident = $bit:literal, $shown:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Default)]
        pub struct $type($repr);

        impl $type {
            /// None of them.
            pub const NONE: $type = $type(0);
            $($(#[$bit_doc])* pub const $name: $type = $type(1 << $bit);)*
            /// All of them with the words Redis shows, in its order.
            pub const NAMES: &'static [($type, &'static str)] = &[$(($type::$name, $shown)),*];

            /// Both sets together.
            #[must_use]
            pub const fn and(self, other: $type) -> $type {
                $type(self.0 | other.0)
            }

            /// Whether all of `other` is in this set.
            #[inline]
            pub const fn has(self, other: $type) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any of `other` is in this set.
            #[inline]
            pub const fn any(self, other: $type) -> bool {
                self.0 & other.0 != 0
            }

            /// The words of this set that Redis shows.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                Self::NAMES
                    .iter()
                    .filter(move |(bit, name)| self.has(*bit) && !name.is_empty())
                    .map(|(_, name)| *name)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_list().entries(self.names()).finish()
            }
        }
    };
}

pub(crate) use bits;
