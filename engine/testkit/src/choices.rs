//! All choices that a test makes, one after the other.
//!
//! A test asks [`Choices::pick`] wherever the world could go several ways. Run it until [`Choices::next`] says that
//! there is no other way: then it has gone all of them. (The idea is TigerBeetle's `exhaustigen`.)

/// The choices of one run, and what is left to try.
#[derive(Debug, Default)]
pub struct Choices {
    /// The picks, each with the number of its options.
    path: Vec<(usize, usize)>,
    at: usize,
    /// The picks at the beginning that stay as they are.
    fixed: usize,
}

impl Choices {
    /// Only the runs whose first pick among `options` is this one: several threads may share all runs so.
    pub fn beginning_with(first: usize, options: usize) -> Self {
        Self { path: vec![(first, options)], at: 0, fixed: 1 }
    }

    /// The options of the first pick, once it was made.
    pub fn first_options(&self) -> Option<usize> {
        self.path.first().map(|(_, options)| *options)
    }

    /// A number below `options`, which is at least 1; over all runs, every one of them.
    pub fn pick(&mut self, options: usize) -> usize {
        assert!(options > 0, "there is nothing to pick from");
        if self.at == self.path.len() {
            self.path.push((0, options));
        }
        let (picked, among) = self.path[self.at];
        assert_eq!(among, options, "a run must depend on nothing but its choices");
        self.at += 1;
        picked
    }

    /// Goes to the next run; false if all have been made.
    #[expect(clippy::should_implement_trait, reason = "it yields runs, not items")]
    pub fn next(&mut self) -> bool {
        self.at = 0;
        while self.path.len() > self.fixed
            && let Some((picked, among)) = self.path.pop()
        {
            if picked + 1 < among {
                self.path.push((picked + 1, among));
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(mut choices: Choices) -> Vec<(usize, usize)> {
        let mut seen = Vec::new();
        loop {
            let first = choices.pick(2);
            let second = if first == 1 { choices.pick(3) } else { 9 };
            seen.push((first, second));
            if !choices.next() {
                return seen;
            }
        }
    }

    #[test]
    fn choices_visit_every_combination_once() {
        assert_eq!(seen(Choices::default()), [(0, 9), (1, 0), (1, 1), (1, 2)]);
    }

    #[test]
    fn first_picks_divide_all_combinations() {
        assert_eq!(seen(Choices::beginning_with(0, 2)), [(0, 9)]);
        assert_eq!(seen(Choices::beginning_with(1, 2)), [(1, 0), (1, 1), (1, 2)]);
    }
}
