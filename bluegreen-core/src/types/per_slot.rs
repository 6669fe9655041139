use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

use crate::types::Slot;

/// One value for each slot. What takes one also takes a pair: blue's value, then green's.
///
/// ```
/// use bluegreen_core::{PerSlot, Slot};
///
/// let mut ports = PerSlot::new(4000, 4001);
/// ports[Slot::Green] = 5000;
/// assert_eq!(ports.map(|port| port + 1), (4001, 5001).into());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PerSlot<T> {
    /// The value for blue.
    pub blue: T,
    /// The value for green.
    pub green: T,
}

impl<T> PerSlot<T> {
    /// The value for blue, and that for green.
    pub const fn new(blue: T, green: T) -> Self {
        Self { blue, green }
    }

    /// The value that the function gives for each slot, blue first.
    pub fn from_fn(mut value: impl FnMut(Slot) -> T) -> Self {
        Self { blue: value(Slot::Blue), green: value(Slot::Green) }
    }

    /// What the function makes of each value, blue's first.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> PerSlot<U> {
        PerSlot { blue: change(self.blue), green: change(self.green) }
    }

    /// The values by reference.
    pub const fn as_ref(&self) -> PerSlot<&T> {
        PerSlot { blue: &self.blue, green: &self.green }
    }

    /// The values by reference, blue's first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.blue, &self.green].into_iter()
    }

    /// Both values, blue's first.
    pub fn into_array(self) -> [T; 2] {
        [self.blue, self.green]
    }
}

/// Blue's value, then green's.
impl<T> From<(T, T)> for PerSlot<T> {
    fn from((blue, green): (T, T)) -> Self {
        Self { blue, green }
    }
}

/// Blue's value, then green's.
impl<T> From<[T; 2]> for PerSlot<T> {
    fn from([blue, green]: [T; 2]) -> Self {
        Self { blue, green }
    }
}

impl<T> Index<Slot> for PerSlot<T> {
    type Output = T;

    fn index(&self, slot: Slot) -> &T {
        match slot {
            Slot::Blue => &self.blue,
            Slot::Green => &self.green,
        }
    }
}

impl<T> IndexMut<Slot> for PerSlot<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        match slot {
            Slot::Blue => &mut self.blue,
            Slot::Green => &mut self.green,
        }
    }
}
