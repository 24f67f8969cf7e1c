# The service on a CPU: docker build -t casting-inspection .
# PIP_ARGS: --index-url of PyTorch's CPU wheels spares 4 GB of CUDA libraries (docs/deploy.md).
FROM python:3.11-slim

ARG PIP_ARGS=""
WORKDIR /app
COPY requirements.txt requirements-deploy.txt constraints.txt ./
# hadolint ignore=SC2086
RUN pip install --no-cache-dir ${PIP_ARGS} -c constraints.txt -r requirements-deploy.txt

# .dockerignore names what the product needs; nothing else gets in.
COPY . .

RUN useradd --uid 1000 --create-home inspector && install -d -o inspector /data
USER 1000
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz')"]
CMD ["python", "serve.py", "--log", "/data/inspections.db"]
