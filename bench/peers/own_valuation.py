"""Offerloop's estimators and bootstrap on a log, as the same kind of job as its peer. Prints JSON."""

from bench.peers.valuation import Arrays, Ends, Point, main
from decisions.bootstrap import bootstrap
from decisions.estimators import MODELLED, NAMES, EstimatorName, Terms, logged, terms_of


def terms(log: Arrays, name: EstimatorName, most: float | None) -> Terms:
    """An estimator on the arrays."""
    model = log.q if name in MODELLED else None
    threshold = most if name in ("clipped_ips", "switch_dr") else None
    return terms_of(name, logged(log.rewards, log.propensity, log.action, log.probabilities, model), threshold=threshold)


def point(name: EstimatorName) -> Point:
    """Its value."""
    return lambda log, most: terms(log, name, most).value


def interval(name: EstimatorName) -> Ends:
    """Its percentile bootstrap, from the arrays on."""

    def ends(log: Arrays, resamples: int, seed: int) -> tuple[float, float]:
        made = terms(log, name, None)
        found = bootstrap(made.terms, made.sizes, None, seed=seed, resamples=resamples)
        return found.low, found.high

    return ends


if __name__ == "__main__":
    main({name: point(name) for name in NAMES}, {name: interval(name) for name in ("ips", "dr")})
