# The image of a release: `make image`. Nothing is fetched while it builds but python3 and CA certificates, where the base
# lacks them. Any base works that has, or whose apt can get, the Python that wheels/ was made for.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
RUN { command -v python3 && test -e /etc/ssl/certs/ca-certificates.crt; } > /dev/null \
 || { apt-get update && apt-get install -y --no-install-recommends python3 ca-certificates && rm -rf /var/lib/apt/lists/*; }

FROM python AS build
COPY wheels /wheels
# pip runs from its own wheel, so that it is never installed.
RUN python3 -m venv --without-pip /opt/sealgate \
 && PYTHONPATH=$(echo /wheels/pip-*.whl) /opt/sealgate/bin/python -m pip install --no-index --find-links /wheels --no-deps \
      --require-hashes --no-cache-dir --disable-pip-version-check --no-warn-script-location -r /wheels/requirements.txt

FROM python
COPY --from=build /opt/sealgate /opt/sealgate
# A number, so that Kubernetes can see that it is not root.
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/sealgate && install -d /etc/sealgate
ENV PATH=/opt/sealgate/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /var/lib/sealgate
VOLUME /var/lib/sealgate
# The registry API, and the admin listener: metrics, health, status.
EXPOSE 5000 5001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["python3", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:5001/healthz', timeout=4)"]
ENTRYPOINT ["sealgate"]
CMD ["serve", "--config", "/etc/sealgate/config.toml"]
