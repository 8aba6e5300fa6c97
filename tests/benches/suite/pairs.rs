//! The measurement itself: the sides of a case in turns, round by round, so that what else the machine does hits all.

use podlink_tests::{Node, Pod};

use crate::progress;
use crate::row::{Measure, Rows, Side};
use crate::settle;
use crate::way::{Timed, Way};

/// Rounds that are run first and not counted: files and code are not in memory yet, the bridge is not made.
const WARM_UP: usize = 2;

/// One side of a case: a node of its own, so that neither sees the other's pods and rules.
pub struct Subject {
    side: Side,
    node: Node,
    way: Box<dyn Way>,
    standing: Vec<Pod>,
    /// Kept to the end of the case: to take a namespace away keeps the kernel busy after the call, beside the next one.
    detached: Vec<Pod>,
}

impl Subject {
    /// On a fresh node, on which `way` may prepare something.
    pub fn new(side: Side, way: impl FnOnce(&Node) -> Box<dyn Way>) -> Subject {
        let node = Node::new();
        let way = way(&node);
        Subject { side, node, way, standing: Vec::new(), detached: Vec::new() }
    }

    /// Attaches pods that stay while others are measured.
    fn crowd(&mut self, pods: u16) {
        for number in 0..pods {
            let pod = self.node.pod(&format!("s{number}"));
            let done = self.way.attach(&self.node, &pod, number);
            done.unwrap_or_else(|e| panic!("{}: attaching pod {number} of {pods}: {e}", self.side.name()));
            self.standing.push(pod);
        }
    }

    fn round(&mut self, number: usize) -> Vec<(&'static str, Timed)> {
        let pod = self.node.pod(&format!("r{number}"));
        let mut timed = vec![("ADD", self.way.attach(&self.node, &pod, 1000))];
        timed.extend(self.way.check(&self.node, &pod).map(|check| ("CHECK", check)));
        timed.push(("DEL", self.way.detach(&self.node, &pod)));
        timed.extend(self.way.network_verbs(&self.node, &self.standing));
        self.detached.push(pod);
        timed
    }
}

/// Measures a case with `pods` others on each node.
///
/// A verb that fails is left out, and said so, if it is CHECK; otherwise there is nothing to compare, and it panics.
pub fn measure(case: &str, mut subjects: Vec<Subject>, pods: u16, rounds: usize, rows: &mut Rows) {
    for subject in &mut subjects {
        progress::preparing(&format!("{case}: {pods} pods of the {} side", subject.side.name()));
        subject.crowd(pods);
    }
    let mut unsupported: Vec<(Side, &str)> = Vec::new();
    for round in 0..WARM_UP + rounds {
        if round >= WARM_UP {
            progress::show(case, round + 1 - WARM_UP, rounds);
        }
        // Every order comes up: with two, each is first in every other round.
        if round % subjects.len() == 0 {
            subjects.reverse();
        } else {
            subjects.rotate_left(1);
        }
        for subject in &mut subjects {
            for (verb, timed) in subject.round(round) {
                let side = subject.side;
                match timed {
                    Ok(taken) if round >= WARM_UP => {
                        rows.add(case, verb, Measure::Time, side, taken.as_secs_f64() * 1e3);
                    }
                    Ok(_) => {}
                    Err(_) if unsupported.contains(&(side, verb)) => {}
                    Err(said) if verb == "CHECK" => {
                        eprintln!("\n{case}: CHECK of the {} fails and is left out: {}", side.name(), said.trim());
                        unsupported.push((side, verb));
                    }
                    Err(said) => panic!("{case}: {verb} of the {} fails: {said}", side.name()),
                }
            }
        }
    }
    settle::after(subjects);
}
