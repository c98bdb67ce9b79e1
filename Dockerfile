# voicegw in a container: the embedded defaults, not as root.
#
#   docker build -t voicegw .
#   docker run --rm --network host --stop-timeout 60 -v voicegw-data:/data voicegw
#
# Host networking, since SIP and RTP carry addresses and a range of UDP ports; docs/deployment.md says more.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml setup.cfg README.md constraints.txt ./
COPY voicegw voicegw
COPY media media
COPY dialog dialog
COPY sip sip
COPY recordings recordings
RUN python -m venv /opt/voicegw \
    && /opt/voicegw/bin/pip install --no-cache-dir --constraint constraints.txt '.[embedded,srtp]'

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin voicegw \
    && mkdir -m 750 -p /data && chown voicegw /data
COPY --from=build /opt/voicegw /opt/voicegw
COPY config /etc/voicegw
ENV PATH=/opt/voicegw/bin:$PATH \
    VOICEGW_DATA_DIR=/data \
    PYTHONUNBUFFERED=1
USER voicegw
WORKDIR /etc/voicegw
VOLUME /data
EXPOSE 5060/udp 5060/tcp 8080/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=2)"]
CMD ["voicegw", "run", "--config", "/etc/voicegw/voicegw.yaml"]
