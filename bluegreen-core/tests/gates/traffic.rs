//! Traffic as people have it, second by second, simulated. Seeded: the same each time.

use bluegreen_core::Counters;

/// How bad requests come.
#[derive(Debug, Clone, Copy)]
pub enum Bad {
    /// Each by itself, with the rates of the new slot and of the old one.
    Independent([f64; 2]),
    /// Several requests of a slot in a row, with these rates in all.
    Bursts { size: u64, rates: [f64; 2] },
    /// A rate that swings about its mean, alike on both slots.
    Waves { mean: f64, swing: f64, period: f64 },
    /// A rate that drifts over the whole time, alike on both slots.
    Drift { from: f64, to: f64 },
    /// All requests of a slot for some seconds, again and again; on both slots at the same time, or on each by itself.
    Pauses { every: f64, length: f64, common: bool },
}

/// A service and what happens to it.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// Requests to the new slot.
    pub per_second: f64,
    /// The new slot's share; the old one gets the rest, and at 1 there is no baseline.
    pub share: f64,
    pub bad: Bad,
    pub seconds: u32,
}

/// One run of a scene.
pub struct Traffic {
    scene: Scene,
    rng: fastrand::Rng,
    at: u32,
    /// What is left of a burst on each slot.
    burst: [u64; 2],
    phases: [f64; 2],
}

impl Traffic {
    pub fn new(scene: Scene, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let phases = [rng.f64(), rng.f64()];
        Self { scene, rng, at: 0, burst: [0; 2], phases }
    }

    /// What the new slot and the old one count in the next second.
    pub fn second(&mut self) -> [Counters; 2] {
        let Scene { per_second, share, bad, seconds } = self.scene;
        let rest = per_second * (1.0 - share) / share;
        let (at, done) = (f64::from(self.at), f64::from(self.at) / f64::from(seconds));
        self.at += 1;
        [0, 1].map(|slot| {
            let requests = self.poisson([per_second, rest][slot]);
            let bad = match bad {
                Bad::Independent(rates) => self.count(requests, rates[slot]),
                Bad::Bursts { size, rates } => self.bursts(slot, requests, size, rates[slot]),
                Bad::Waves { mean, swing, period } => {
                    let phase = (at / period + self.phases[0]) * std::f64::consts::TAU;
                    self.count(requests, (mean + swing * phase.sin()).max(0.0))
                }
                Bad::Drift { from, to } => self.count(requests, from + (to - from) * done),
                Bad::Pauses { every, length, common } => {
                    let phase = self.phases[if common { 0 } else { slot }];
                    let paused = paused(at / every + phase, 1.0 / every, length / every);
                    self.count(requests, paused)
                }
            };
            Counters { requests, bad }
        })
    }

    fn bursts(&mut self, slot: usize, requests: u64, size: u64, rate: f64) -> u64 {
        let (mut bad, mut left) = (0, requests);
        loop {
            let now = self.burst[slot].min(left);
            (self.burst[slot], bad, left) = (self.burst[slot] - now, bad + now, left - now);
            let gap = self.gap(rate / size as f64);
            if gap > left as f64 {
                return bad;
            }
            left -= gap as u64 - 1;
            self.burst[slot] = size;
        }
    }

    /// How many of `trials` come true, each with `probability`: by the distances between those that do.
    fn count(&mut self, trials: u64, probability: f64) -> u64 {
        if probability >= 1.0 {
            return trials;
        }
        let (mut count, mut at) = (0, 0.0);
        loop {
            at += self.gap(probability);
            if at > trials as f64 {
                return count;
            }
            count += 1;
        }
    }

    /// From one success to the next, in trials.
    fn gap(&mut self, probability: f64) -> f64 {
        if probability <= 0.0 {
            return f64::INFINITY;
        }
        1.0 + (self.rng.f64().max(f64::MIN_POSITIVE).ln() / (-probability).ln_1p()).floor()
    }

    fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 50.0 {
            // The sum of twelve is near enough to a normal deviate for a number of requests.
            let normal = (0..12).map(|_| self.rng.f64()).sum::<f64>() - 6.0;
            return (mean + mean.sqrt() * normal).round().max(0.0) as u64;
        }
        let (mut count, mut product) = (0, self.rng.f64());
        while product > (-mean).exp() {
            product *= self.rng.f64();
            count += 1;
        }
        count
    }
}

/// Which part of `[at, at + span)` falls into `[k, k + length)` for some whole number `k`.
fn paused(at: f64, span: f64, length: f64) -> f64 {
    let (from, to) = (at.fract(), at.fract() + span);
    let overlap = |start: f64| (to.min(start + length) - from.max(start)).max(0.0);
    (overlap(0.0) + overlap(1.0)) / span
}
