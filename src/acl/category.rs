//! The categories that commands fall into, with the words of ACL CAT in its order.

use crate::base::bits::bits;

bits! {
    /// ACL categories.
    Category: u32 {
        /// Keys of any type.
        KEYSPACE = 0, "keyspace";
        /// Derived from the flags.
        READ = 1, "read";
        /// Derived from the flags.
        WRITE = 2, "write";
        /// Sets.
        SET = 3, "set";
        /// Sorted sets.
        SORTEDSET = 4, "sortedset";
        /// Lists.
        LIST = 5, "list";
        /// Hashes.
        HASH = 6, "hash";
        /// Strings.
        STRING = 7, "string";
        /// Bitmaps.
        BITMAP = 8, "bitmap";
        /// HyperLogLogs.
        HYPERLOGLOG = 9, "hyperloglog";
        /// Geo indexes.
        GEO = 10, "geo";
        /// Streams.
        STREAM = 11, "stream";
        /// Publish and subscribe; derived from the flags.
        PUBSUB = 12, "pubsub";
        /// For the operator; derived from the flags.
        ADMIN = 13, "admin";
        /// Derived from the flags.
        FAST = 14, "fast";
        /// Derived from the flags: what is not fast.
        SLOW = 15, "slow";
        /// Derived from the flags.
        BLOCKING = 16, "blocking";
        /// Can do harm.
        DANGEROUS = 17, "dangerous";
        /// Connections.
        CONNECTION = 18, "connection";
        /// MULTI and its kin.
        TRANSACTION = 19, "transaction";
        /// Scripts and functions.
        SCRIPTING = 20, "scripting";
    }
}

impl Category {
    /// The category of that name, in any case.
    pub fn named(name: &[u8]) -> Option<Category> {
        Self::NAMES
            .iter()
            .find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|(category, _)| *category)
    }
}
