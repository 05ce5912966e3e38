"""Conversion of inventories and pending updates."""

from tendhost.client.convert.enums import enum_names, instant, numbers, reading, span
from tendhost.client.models import inventory as values
from tendhost.v1 import host_pb2
from tendhost.v1 import host_service_pb2 as service_pb

_withheld = reading(
    {
        **enum_names(values.Withheld, host_pb2.Withheld),
        host_pb2.WITHHELD_UNSPECIFIED: values.Withheld.NO,
    },
    values.Withheld.UNRECOGNIZED,
)
_severity = reading(
    {
        **enum_names(values.Severity, host_pb2.Severity),
        host_pb2.SEVERITY_UNSPECIFIED: values.Severity.UNKNOWN,
    },
    values.Severity.UNRECOGNIZED,
)
PART_NUMBERS = numbers(enum_names(values.InventoryPart, host_pb2.InventoryPart))
GROUPING_NUMBERS = numbers(enum_names(values.PendingGrouping, service_pb.PendingGrouping))


def inventory(message: host_pb2.Inventory) -> values.Inventory:
    """An inventory."""
    system = message.system
    return values.Inventory(
        host=message.host,
        os_id=system.os_id,
        os_version=system.os_version,
        os_name=system.os_name,
        kernel=system.kernel,
        architecture=system.architecture,
        boot_id=system.boot_id,
        machine_id=system.machine_id,
        uptime=span(system.uptime) if system.HasField("uptime") else None,
        package_manager=system.package_manager,
        container=system.container,
        init=system.init,
        virtualization=system.virtualization,
        concluded=tuple(system.concluded),
        pending_updates=tuple(pending_package(package) for package in message.pending_updates),
        packages=tuple(values.Package(name=p.name, version=p.version) for p in message.packages),
        collected_at=instant(message, "collected_at"),
        containers=tuple(_container(container) for container in message.containers),
        images=tuple(_image(image) for image in message.images),
        compose_projects=tuple(_project(project) for project in message.compose_projects),
        hardware=_hardware(message.hardware) if message.HasField("hardware") else None,
        mounts=tuple(_mount(mount) for mount in message.mounts),
        interfaces=tuple(_interface(interface) for interface in message.interfaces),
        outdated_services=tuple(message.outdated_services)
        if message.outdated_services_known
        else None,
        sources=dict(message.sources),
        missing=tuple(message.missing),
        incomplete=message.incomplete,
    )


def pending_package(message: host_pb2.PendingPackage) -> values.PendingPackage:
    """A package with a newer version."""
    return values.PendingPackage(
        name=message.name,
        from_version=message.from_version,
        to_version=message.to_version,
        architecture=message.architecture,
        origin=message.origin,
        security=message.security if message.HasField("security") else None,
        withheld=_withheld(message.withheld),
        advisories=tuple(
            values.Advisory(
                id=advisory.id,
                security=advisory.security,
                severity=_severity(advisory.severity),
                cves=tuple(advisory.cves),
            )
            for advisory in message.advisories
        ),
        replaces=tuple(message.replaces),
    )


def _container(message: host_pb2.Container) -> values.Container:
    return values.Container(
        name=message.name,
        image=message.image,
        image_id=message.image_id,
        state=message.state,
        health=message.health,
    )


def _image(message: host_pb2.Image) -> values.Image:
    return values.Image(
        id=message.id,
        tags=tuple(message.tags),
        digests=tuple(message.digests),
        size_bytes=message.size_bytes,
    )


def _project(message: host_pb2.ComposeProject) -> values.ComposeProject:
    services = tuple(
        values.ComposeService(
            name=service.name,
            image=service.image,
            image_id=service.image_id,
            pinned=service.pinned,
            state=service.state,
            health=service.health,
        )
        for service in message.services
    )
    return values.ComposeProject(path=message.path, problem=message.problem, services=services)


def _hardware(message: host_pb2.Hardware) -> values.Hardware:
    return values.Hardware(
        vendor=message.vendor,
        model=message.model,
        serial=message.serial,
        cpu=message.cpu,
        sockets=message.sockets,
        cores=message.cores,
        threads=message.threads,
        memory_bytes=message.memory_bytes,
        available_bytes=message.available_bytes,
        hostname=message.hostname,
    )


def _mount(message: host_pb2.Mount) -> values.Mount:
    return values.Mount(
        path=message.path,
        device=message.device,
        type=message.type,
        size_bytes=message.size_bytes,
        free_bytes=message.free_bytes,
    )


def _interface(message: host_pb2.Interface) -> values.Interface:
    return values.Interface(
        name=message.name,
        mac=message.mac,
        addresses=tuple(message.addresses),
        mtu=message.mtu,
    )


def pending_entry(message: service_pb.PendingEntry) -> values.PendingEntry:
    """An entry of the fleet's pending updates."""
    return values.PendingEntry(
        name=message.name,
        version=message.version,
        security=message.security if message.HasField("security") else None,
        severity=_severity(message.severity),
        cves=tuple(message.cves),
        advisories=tuple(message.advisories),
        hosts=tuple(message.hosts),
        host_count=message.host_count,
        packages=tuple(message.packages),
        package_count=message.package_count,
        incomplete=message.incomplete,
    )
