//! Which weights make a split, and which split weights make.

use bluegreen_core::{PerSlot, Slot, Split};

/// HAProxy's largest weight.
const MAX: usize = 256;

/// The weights of the servers of each slot that get any, for slots of so many servers. The shares are exact, and within a slot
/// weights differ by 1 at most. A slot without a share has none, and a share that is too small for all servers of its slot goes
/// to the first of them: one server cannot have more than 256 times what another one has.
pub(crate) fn weights_for(split: Split, servers: PerSlot<usize>) -> PerSlot<Vec<u16>> {
    if let Some(slot) = split.sole() {
        return PerSlot::from_fn(|each| if each == slot { vec![100; servers[each]] } else { Vec::new() });
    }
    let shares = PerSlot::from_fn(|slot| usize::from(split.share(slot)));
    let divisor = gcd(shares.blue, shares.green);
    let total = |slot, factor: usize| shares[slot] / divisor * factor;
    let holds = |is: &dyn Fn(Slot) -> bool| Slot::BOTH.into_iter().all(is);
    let fits = |factor: &usize| holds(&|slot| total(slot, *factor) <= MAX * servers[slot]);
    let uses_all = |factor: &usize| holds(&|slot| total(slot, *factor) >= servers[slot]);
    let is_even = |factor: &usize| holds(&|slot| total(slot, *factor) % servers[slot] == 0);
    // Percent as such where that can be, because people read it; else the smallest even weights; else the finest uneven ones.
    let factors = || (1..=MAX * servers.blue.max(servers.green)).take_while(fits);
    let as_percent = Some(divisor).filter(|factor| fits(factor) && uses_all(factor) && is_even(factor));
    let even = || factors().find(|factor| uses_all(factor) && is_even(factor));
    let factor = as_percent.or_else(even).or_else(|| factors().last()).unwrap_or(1);
    PerSlot::from_fn(|slot| {
        let used = servers[slot].min(total(slot, factor));
        let (each, more) = (total(slot, factor) / used, total(slot, factor) % used);
        (0..used).map(|number| (each + usize::from(number < more)) as u16).collect()
    })
}

/// The split that these sums of weights make, to the nearest percent; a slot with traffic has 1 % at least. `None`: nothing is
/// routed.
pub(crate) fn split_of(weights: PerSlot<u64>) -> Option<Split> {
    let PerSlot { blue, green } = weights;
    let percent = match (blue, green) {
        (0, 0) => return None,
        (0, _) => 100,
        (_, 0) => 0,
        _ => ((green * 200 + blue + green) / (2 * (blue + green))).clamp(1, 99),
    };
    Split::toward(Slot::Green, percent as u8).ok()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_over_up_to_twelve_servers_is_read_back_as_itself() {
        for percent in 1..=99 {
            let split = Split::toward(Slot::Green, percent).unwrap();
            for (blue, green) in (1..=12).flat_map(|blue| (1..=12).map(move |green| (blue, green))) {
                let weights = weights_for(split, PerSlot::new(blue, green));
                let most = weights.blue.len() == blue || weights.green.len() == green;
                assert!(most && !weights.blue.is_empty() && !weights.green.is_empty(), "{weights:?}");
                let sums = weights.as_ref().map(|all| all.iter().map(|weight| u64::from(*weight)).sum::<u64>());
                let exact = sums.green * 100 == u64::from(percent) * (sums.blue + sums.green);
                assert!(exact && split_of(sums) == Some(split), "{split} over {blue} and {green}: {weights:?}");
                for all in weights.iter() {
                    let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
                    assert!(*least >= 1 && *most <= 256 && most - least <= 1, "{weights:?}");
                }
            }
        }
    }

    #[test]
    fn weights_are_the_percentages_where_they_can_be() {
        let of =
            |percent, blue, green| weights_for(Split::toward(Slot::Green, percent).unwrap(), PerSlot::new(blue, green));
        assert_eq!(of(10, 1, 1), PerSlot::new(vec![90], vec![10]));
        assert_eq!(of(50, 2, 2), PerSlot::new(vec![25, 25], vec![25, 25]));
        assert_eq!(of(10, 3, 1), PerSlot::new(vec![30; 3], vec![10]));
        assert_eq!(of(0, 2, 3), PerSlot::new(vec![100; 2], vec![]));
    }

    #[test]
    fn a_share_that_is_too_small_for_all_servers_of_its_slot_goes_to_some_of_them() {
        let of = |blue, green| weights_for(Split::toward(Slot::Green, 1).unwrap(), PerSlot::new(blue, green));
        assert_eq!(of(1, 3), PerSlot::new(vec![198], vec![1, 1]));
        assert_eq!(of(1, 100), PerSlot::new(vec![198], vec![1, 1]));
        assert_eq!(of(1, 1), PerSlot::new(vec![99], vec![1]));
        assert_eq!(of(100, 1).green.len(), 1);
    }

    #[test]
    fn weights_of_other_hands_are_the_nearest_split_and_never_all_or_nothing() {
        let green = |blue, green| split_of(PerSlot::new(blue, green)).map(|split| split.share(Slot::Green));
        assert_eq!((green(0, 0), green(7, 0), green(0, 7)), (None, Some(0), Some(100)));
        assert_eq!((green(100, 37), green(256, 1), green(1, 256)), (Some(27), Some(1), Some(99)));
    }
}
