//! Committing transactions.

use nix::libc;

use super::{ATTEMPTS, Ack, Nft, objected};
use crate::{
    error::{Error, Missing},
    table::{Family, Table},
    transaction::{Batch, Options, Transaction},
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
                _ => return Err(failure(transaction, &batch, others.or(refused.first()))),
            }
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
