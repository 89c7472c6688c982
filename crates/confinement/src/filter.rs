//! From the table of calls to the two filters that the kernel runs, seccomp(2).
//!
//! The first ends the process at a call of [`calls::DEADLY`]; the second answers everything that is not allowed with
//! `ENOSYS`, as a kernel would that is too old for it: so a library finds its other way. The kernel remembers which calls
//! are allowed whatever their arguments, and runs no filter for those (Linux 5.11).

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use crate::calls::{self, Call, Only};
use crate::error::ConfinementError;
use crate::hierarchies::Network;

/// Whether there are tables for this machine's processor.
pub(crate) fn knows_processor() -> bool {
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))
}

/// Filters this thread's calls, and those of the threads that it starts, from now on.
pub(crate) fn install(network: &Network) -> Result<(), ConfinementError> {
    let processor = TargetArch::try_from(std::env::consts::ARCH)?;
    let deadly = SeccompFilter::new(
        rules(calls::DEADLY)?,
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        processor,
    )?;
    let allowed = SeccompFilter::new(
        rules(&calls::allowed(network.looks_up_names()))?,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        SeccompAction::Allow,
        processor,
    )?;
    let (deadly, allowed): (BpfProgram, BpfProgram) = (deadly.try_into()?, allowed.try_into()?);
    apply_filter(&deadly)?;
    apply_filter(&allowed)?;
    Ok(())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Any line of the table that fits is enough; a call without conditions in one of them has none.
fn rules(table: &[Call]) -> Result<Rules, ConfinementError> {
    let mut rules = Rules::new();
    for call in table {
        let before = rules.get(&call.number).is_some_and(Vec::is_empty);
        let entry = rules.entry(call.number).or_default();
        if before || call.only.is_empty() {
            entry.clear();
            continue;
        }
        for only in call.only {
            entry.push(SeccompRule::new(conditions(*only)?)?);
        }
    }
    Ok(rules)
}

/// All of them must hold.
fn conditions(only: Only) -> Result<Vec<SeccompCondition>, ConfinementError> {
    let is = |argument, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
    };
    let masked = |argument, mask, value| {
        SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(mask),
            value,
        )
    };
    let condition = match only {
        Only::Without(argument, bits) => masked(argument, bits, 0),
        Only::With(argument, bits) => masked(argument, bits, bits),
        Only::Equal(argument, value) => is(argument, value),
        Only::OwnProcess(argument) => is(argument, u64::from(std::process::id())),
        Only::Possible(argument) => SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::Ne,
            sys::kernel_guard::IMPOSSIBLE,
        ),
        Only::Socket(family, kind, protocol) => {
            return Ok(vec![
                is(0, family)?,
                masked(1, TYPE_OF_SOCKET, kind)?,
                is(2, protocol)?,
            ]);
        }
    };
    Ok(vec![condition?])
}

/// Flags stand above it.
const TYPE_OF_SOCKET: u64 = 0xf;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_without_conditions_has_none_wherever_it_stands() {
        let table = |lines: &[&'static [Only]]| -> Vec<Call> {
            let call = |only: &&'static [Only]| Call { number: 1, only };
            lines.iter().map(call).collect()
        };
        let limited: &[Only] = &[Only::Equal(0, 1), Only::Equal(0, 2)];
        let count = |lines: &[&'static [Only]]| rules(&table(lines)).unwrap()[&1].len();
        assert_eq!(count(&[limited]), 2);
        assert_eq!(count(&[limited, limited]), 4);
        assert_eq!(count(&[limited, &[]]), 0);
        assert_eq!(count(&[&[], limited]), 0);
    }

    #[test]
    fn no_call_is_both_deadly_and_allowed_whatever_its_arguments() {
        let deadly = rules(calls::DEADLY).unwrap();
        for looks_up_names in [false, true] {
            let allowed = rules(&calls::allowed(looks_up_names)).unwrap();
            for (number, conditions) in allowed {
                let is_both = conditions.is_empty() && deadly.contains_key(&number);
                assert!(!is_both, "{number}");
            }
        }
    }
}
