"""What no rule of the contract can see of a host's configuration."""

import pytest

from tendhost.server.domain.hosts.host import HostConfig, Policy
from tendhost.server.domain.hosts.reconfiguration import require_sound
from tendhost.server.domain.policy.health_checks import HealthCheck, HealthChecks, HttpProbe
from tendhost.server.domain.request_errors import InvalidArgument


def test_configuration__with_a_health_check_that_cannot_be_made_is_refused():
    check = HealthCheck(http=HttpProbe(url="http://web1:99999/"))
    policy = Policy(health_checks=HealthChecks(checks=(check,)))
    config = HostConfig(name="web1", address="192.0.2.1", policy=policy)
    with pytest.raises(InvalidArgument) as refused:
        require_sound(config)
    (violation,) = refused.value.violations
    assert violation.field == "config.policy.health_checks.checks[0].http.url"
