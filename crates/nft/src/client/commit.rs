//! Committing transactions.

use nix::libc;

use super::{ATTEMPTS, Ack, Nft, objected};
use crate::{
    error::{Error, Missing, Refusal},
    table::{Family, Table},
    transaction::{Batch, Operation, Options, Transaction},
};

/// What the kernel made of a batch.
enum Outcome {
    Done,
    /// A signal or a loading module came between.
    Interrupted(Ack),
    /// Messages failed, in the order of the batch; the positions are those of `Batch::units`.
    Refused(Vec<(usize, Ack)>),
    /// The batch as a whole was refused.
    RefusedWhole(Ack),
}

impl Nft {
    /// Does all operations of the transaction, or none and tells the first that failed.
    ///
    /// Costs one `send` and one `recv`. Repeated by itself when a signal interrupts the kernel.
    pub fn commit(&mut self, transaction: &Transaction) -> Result<(), Error> {
        self.run(transaction, false)
    }

    /// Lets the kernel check every operation and undo them all: fails as [`Nft::commit`] would, changes nothing.
    pub fn dry_run(&mut self, transaction: &Transaction) -> Result<(), Error> {
        self.run(transaction, true)
    }

    /// Whether the kernel has nf_tables for this family: false where it lacks either.
    ///
    /// Tries to make a table, and takes it back before anyone sees it.
    pub fn supports(&mut self, family: Family) -> Result<bool, Error> {
        let table = Table::new(family, "podlink_probe");
        let mut probe = Transaction::new();
        probe.add_table(&table).add_chain(&table, crate::Chain::regular("probe"));
        match self.dry_run(&probe) {
            Ok(()) => Ok(true),
            Err(Error::Unsupported { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn run(&mut self, transaction: &Transaction, dry_run: bool) -> Result<(), Error> {
        transaction.validate()?;
        let mut skip = Vec::new();
        let mut emulate_destroy = self.no_destroy;
        let mut attempts = 0;
        loop {
            let options = Options { seq: self.seq, emulate_destroy, skip: &skip, dry_run };
            let batch = transaction.encode(&options);
            if batch.units.is_empty() {
                return Ok(());
            }
            let refused = match self.exchange(&batch, || transaction.brief())? {
                Outcome::Done => return Ok(()),
                Outcome::Interrupted(ack) => {
                    attempts += 1;
                    if attempts == ATTEMPTS {
                        return Err(Error::refused(ack.refusal(transaction.brief(), None), Missing::Unknown));
                    }
                    continue;
                }
                Outcome::RefusedWhole(ack) => {
                    return Err(Error::refused(ack.refusal(transaction.brief(), None), Missing::Unknown));
                }
                Outcome::Refused(refused) => refused,
            };
            let may_miss = |position: usize| batch.units.get(position).is_some_and(|unit| unit.may_miss);
            // What need not be there and is not there is left out, and the rest tried again. Leaving out is exact only
            // with one message for each object, which is how `destroy` is written for old kernels.
            let unknown = |(position, ack): &(usize, Ack)| ack.errno == libc::EINVAL && may_miss(*position);
            if !emulate_destroy {
                let missing = |(position, ack): &(usize, Ack)| ack.errno == libc::ENOENT && may_miss(*position);
                let too_old = refused.iter().any(unknown);
                if too_old || refused.iter().any(missing) {
                    self.no_destroy |= too_old;
                    emulate_destroy = true;
                    skip.clear();
                    continue;
                }
            }
            let before = skip.len();
            for (position, ack) in &refused {
                if let Some(unit) = batch.units.get(*position)
                    && unit.may_miss
                    && ack.errno == libc::ENOENT
                {
                    skip.push(unit.number);
                }
            }
            let others = refused.iter().find(|(position, ack)| !(ack.errno == libc::ENOENT && may_miss(*position)));
            match others {
                None if skip.len() > before => {}
                _ => {
                    let error = failure(transaction, &batch, others.or(refused.first()));
                    return Err(self.explain(transaction, error, others.or(refused.first()), &batch));
                }
            }
        }
    }

    /// Current kernels refuse to move a base chain to another hook or priority as "not supported", as they do a chain
    /// in a family they lack. A look at what is there tells the two apart.
    fn explain(
        &mut self,
        transaction: &Transaction,
        error: Error,
        refused: Option<&(usize, Ack)>,
        batch: &Batch,
    ) -> Error {
        let unit = refused.and_then(|(position, _)| batch.units.get(*position));
        let operation = unit.and_then(|unit| transaction.operation(unit.operation));
        let (Error::Unsupported { .. }, Some(Operation::AddChain { table, chain, .. })) = (&error, operation) else {
            return error;
        };
        match self.chain(table, &chain.name) {
            Ok(Some(there)) if there.base != chain.base => {
                let found = there.base.map_or_else(|| "no base chain".to_owned(), |base| base.to_string());
                Error::Exists(Box::new(Refusal {
                    operation: operation.map(|operation| operation.brief(None)).unwrap_or_default(),
                    index: unit.map(|unit| unit.operation),
                    errno: libc::EEXIST,
                    detail: Some(format!("the chain is there and differs: {found}")),
                }))
            }
            _ => error,
        }
    }

    fn exchange(&mut self, batch: &Batch, brief: impl Fn() -> String) -> Result<Outcome, Error> {
        let messages = batch.units.len() as u32 + 2;
        let begin = self.next_seq(messages);
        self.send(&batch.bytes).map_err(|source| match source.raw_os_error() {
            Some(libc::EMSGSIZE) => Error::Invalid {
                operation: brief(),
                reason: format!(
                    "the transaction is {} bytes long and the socket's send buffer cannot be made large enough; raise net.core.wmem_max",
                    batch.bytes.len()
                ),
            },
            _ => Error::io(brief(), source),
        })?;
        let mut refused = Vec::new();
        let mut finished = false;
        loop {
            let length = match self.receive() {
                Ok(Some(length)) => length,
                Ok(None) => break,
                // So many messages failed that their errors did not fit: the first ones are there to read.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => continue,
                Err(source) => return Err(Error::io(brief(), source)),
            };
            for ack in self.messages(length).filter_map(|message| Ack::from_message(&message)) {
                let position = ack.seq.wrapping_sub(begin);
                if position >= messages {
                    // Left over from an earlier batch that was given up.
                    continue;
                }
                match (position, ack.errno) {
                    (_, 0) => finished = true,
                    (_, libc::EINTR | libc::EAGAIN) => return Ok(self.interrupted(ack)),
                    (0, _) => return Ok(Outcome::RefusedWhole(ack)),
                    _ => refused.push((position as usize - 1, ack)),
                }
            }
            // The acknowledgement of the last message comes last: nothing is left to ask for.
            if finished && refused.is_empty() {
                return Ok(Outcome::Done);
            }
        }
        if refused.is_empty() {
            let source = std::io::Error::other("the kernel did not answer");
            return Err(Error::io(brief(), source));
        }
        Ok(Outcome::Refused(refused))
    }

    /// Takes what else the kernel had to say, so that the next batch does not read it.
    fn interrupted(&mut self, ack: Ack) -> Outcome {
        while let Ok(Some(_)) = self.receive() {}
        Outcome::Interrupted(ack)
    }
}

fn failure(transaction: &Transaction, batch: &Batch, refused: Option<&(usize, Ack)>) -> Error {
    let Some((position, ack)) = refused else {
        return Error::io(transaction.brief(), std::io::Error::other("the kernel did not answer"));
    };
    let Some(unit) = batch.units.get(*position) else {
        return Error::refused(ack.clone().refusal(transaction.brief(), None), Missing::Unknown);
    };
    let (missing, element) = objected(batch.bytes.get(unit.start..).unwrap_or_default(), ack.offset);
    let element = element.map(|element| element + unit.first_element);
    let text = transaction.operation(unit.operation).map(|operation| operation.brief(element)).unwrap_or_default();
    Error::refused(ack.clone().refusal(text, Some(unit.operation)), missing)
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::Ipv4Addr;

    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::{Chain, Element, FieldType, Rule, Set};

    const T: Table = Table::new(Family::Inet, "t");

    /// Runs in a network namespace that ends with the test.
    pub(in crate::client) fn in_namespace(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("this test makes a network namespace: run it as root");
            test();
        })
        .join()
        .unwrap();
    }

    fn pods(range: std::ops::Range<u32>) -> Vec<Element> {
        range.map(|last| Element::new(Ipv4Addr::from(0x0a00_0000 + last))).collect()
    }

    #[test]
    fn destroy_works_on_kernels_that_have_no_such_message() {
        in_namespace(|| {
            let mut nft = Nft::open().unwrap();
            nft.no_destroy = true;
            let mut setup = Transaction::new();
            setup
                .add_table(&T)
                .add_chain(&T, Chain::regular("c"))
                .add_rule(&T, "c", Rule::new().accept())
                .add_set(&T, Set::new("pods", [FieldType::Ipv4Addr]))
                .add_elements(&T, "pods", pods(1..5));
            nft.commit(&setup).unwrap();
            let mut tx = Transaction::new();
            tx.destroy_elements(&T, "pods", pods(3..9)).destroy_chain(&T, "d").destroy_rule(&T, "c", 99);
            nft.commit(&tx).unwrap();
            assert_eq!(nft.elements(&T, "pods").unwrap().len(), 2);

            // Another error in the same transaction is not lost among what may be missing.
            tx.delete_set(&T, "nothing");
            let error = nft.commit(&tx).unwrap_err();
            assert_eq!(error.missing(), Some(Missing::Set));

            let mut tx = Transaction::new();
            tx.destroy_chain(&T, "c").destroy_set(&T, "pods").destroy_table(&T);
            nft.commit(&tx).unwrap();
            nft.commit(&tx).unwrap();
            assert!(!nft.has_table(&T).unwrap());
        });
    }

    #[test]
    fn answers_to_an_earlier_batch_are_not_taken_for_this_one() {
        in_namespace(|| {
            let mut nft = Nft::open().unwrap();
            let mut tx = Transaction::new();
            tx.delete_table(&T);
            let stale = tx.encode(&Options { seq: nft.next_seq(3), ..Options::default() });
            nft.send(&stale.bytes).unwrap();
            let mut tx = Transaction::new();
            tx.add_table(&T);
            nft.commit(&tx).unwrap();
            assert!(nft.has_table(&T).unwrap());
        });
    }

    #[test]
    fn an_empty_transaction_sends_nothing() {
        in_namespace(|| {
            let mut nft = Nft::open().unwrap();
            let before = nft.generation().unwrap();
            nft.commit(&Transaction::new()).unwrap();
            assert_eq!(nft.generation().unwrap(), before);
        });
    }
}
