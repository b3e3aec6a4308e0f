# Build: everything is installed from the locks, by hash; the package itself becomes a wheel without any network.
FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements-image.lock requirements-build.lock ./
RUN ["python", "-m", "venv", "--without-pip", "/opt/octoroute"]
RUN ["pip", "--python", "/opt/octoroute/bin/python", "install", "--require-hashes", "--only-binary", ":all:", "-r", "requirements-image.lock"]
RUN ["pip", "install", "--require-hashes", "--only-binary", ":all:", "-r", "requirements-build.lock"]
COPY pyproject.toml README.md LICENSE ./
COPY octoroute_py ./octoroute_py
RUN ["pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", "/wheel", "."]
RUN ["pip", "--python", "/opt/octoroute/bin/python", "install", "--no-deps", "--no-index", "--find-links", "/wheel", "octoroute-py"]
# The scorer's kernels are compiled here once: the running container cannot keep what it compiles.
RUN printf '{"id": 1, "prompt": "hello"}\n' | /opt/octoroute/bin/octoroute score -i /dev/stdin -o /dev/null
RUN ["install", "-d", "/state"]

# Run: the same interpreter, the finished environment, nothing to build with.
FROM python:3.12-slim-bookworm
ENV PATH=/opt/octoroute/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/octoroute /opt/octoroute
COPY --from=build --chown=10001:10001 /state /var/lib/octoroute
USER 10001:10001
WORKDIR /var/lib/octoroute

# Config and state share a folder because the database and the first start's admin key are kept beside the config.
VOLUME /var/lib/octoroute
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/health/live', timeout=3)"]
ENTRYPOINT ["octoroute"]
CMD ["serve", "-c", "/var/lib/octoroute/config.toml", "--host", "0.0.0.0", "--port", "3000"]
