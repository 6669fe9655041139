use bluegreen_core::{Slot, Split};

/// The share of green among so many; none of none.
pub(super) fn share(green: usize, all: usize) -> Option<Split> {
    match (green, all) {
        (_, 0) => None,
        (0, _) => Some(Split::all(Slot::Blue)),
        (green, all) if green == all => Some(Split::all(Slot::Green)),
        (green, all) => {
            let percent = u8::try_from((green * 100 / all).clamp(1, 99)).unwrap_or(50);
            Split::toward(Slot::Green, percent).ok()
        }
    }
}
