//! Size classes: the few lengths that packets and frames have, so that a length says little.
//!
//! See `docs/wire-format.md`, section 3.2.

/// Bytes by which each layer is longer than the packet inside it.
pub const LAYER_BYTES: usize = 512;

/// Most layers that fit around an end-to-end packet in one frame.
pub const MAX_LAYERS: usize = 3;

/// Bytes of a frame that an end-to-end packet leaves free for layers.
pub const LAYER_ROOM_BYTES: usize = MAX_LAYERS * LAYER_BYTES;

/// Longest packet in bytes that a node takes.
pub const MAX_PACKET_BYTES: usize = 1_048_576;

/// One of the five lengths of a frame's region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SizeClass {
    /// 4,096 bytes.
    K4,
    /// 16,384 bytes.
    K16,
    /// 65,536 bytes.
    K64,
    /// 262,144 bytes.
    K256,
    /// 1,048,576 bytes.
    M1,
}

impl SizeClass {
    /// All classes, smallest first.
    pub const ALL: [Self; 5] = [Self::K4, Self::K16, Self::K64, Self::K256, Self::M1];

    /// Length of a frame's region of this class in bytes.
    pub const fn frame_bytes(self) -> usize {
        match self {
            Self::K4 => 4_096,
            Self::K16 => 16_384,
            Self::K64 => 65_536,
            Self::K256 => 262_144,
            Self::M1 => MAX_PACKET_BYTES,
        }
    }

    /// Length of an end-to-end packet of this class in bytes: the frame less the room for layers.
    pub const fn packet_bytes(self) -> usize {
        self.frame_bytes() - LAYER_ROOM_BYTES
    }

    /// Returns the smallest class whose frame holds a packet of `length` bytes.
    pub const fn for_packet_len(length: usize) -> Option<Self> {
        match length {
            0..=4_096 => Some(Self::K4),
            4_097..=16_384 => Some(Self::K16),
            16_385..=65_536 => Some(Self::K64),
            65_537..=262_144 => Some(Self::K256),
            262_145..=MAX_PACKET_BYTES => Some(Self::M1),
            _ => None,
        }
    }

    /// The class as the byte that stands for it on the wire.
    pub const fn index(self) -> u8 {
        match self {
            Self::K4 => 0,
            Self::K16 => 1,
            Self::K64 => 2,
            Self::K256 => 3,
            Self::M1 => 4,
        }
    }

    /// Reads a class from the byte that stands for it on the wire.
    pub const fn from_index(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::K4),
            1 => Some(Self::K16),
            2 => Some(Self::K64),
            3 => Some(Self::K256),
            4 => Some(Self::M1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_class_of_a_length_is_the_smallest_that_holds_it() {
        for class in SizeClass::ALL {
            assert_eq!(SizeClass::for_packet_len(class.frame_bytes()), Some(class));
            assert_eq!(SizeClass::for_packet_len(class.packet_bytes()), Some(class));
            let above = SizeClass::for_packet_len(class.frame_bytes() + 1);
            assert_eq!(above, SizeClass::from_index(class.index() + 1));
        }
        assert_eq!(SizeClass::for_packet_len(0), Some(SizeClass::K4));
    }

    #[test]
    fn size_class_index_round_trips() {
        for class in SizeClass::ALL {
            assert_eq!(SizeClass::from_index(class.index()), Some(class));
        }
        assert_eq!(SizeClass::from_index(5), None);
        assert_eq!(SizeClass::from_index(255), None);
    }

    #[test]
    fn size_class_leaves_room_for_three_layers() {
        for class in SizeClass::ALL {
            assert_eq!(class.packet_bytes() + 3 * LAYER_BYTES, class.frame_bytes());
        }
    }
}
